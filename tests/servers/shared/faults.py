"""What servers of ours share: going wrong when a test tells them to.

A file holds a line for each writing call to come: `before CODE MESSAGE` refuses it, `after CODE MESSAGE` carries it out and then
answers so, `pass` lets it through. The file is gone when its lines are used up.
"""

import threading
from pathlib import Path


class Faults:
    def __init__(self, path: Path, refusal):
        """`refusal(code, message)` makes what is raised."""
        self.path = path
        self.refusal = refusal
        self.guard = threading.Lock()

    def before(self):
        """Raises what the next line says of a call before it; returns what is to be raised after it, if anything."""
        with self.guard:
            if not self.path.exists():
                return None
            line, _, rest = self.path.read_text().partition("\n")
            fresh = self.path.with_suffix(".rest")
            fresh.write_text(rest)
            fresh.rename(self.path) if rest.strip() else (fresh.unlink(), self.path.unlink())
        when, _, what = line.partition(" ")
        if when == "pass" or not what:
            return None
        code, _, message = what.partition(" ")
        refusal = self.refusal(int(code), message)
        if when == "before":
            raise refusal
        return refusal
