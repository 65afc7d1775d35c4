"""What a server's folder must say about it: `<name>/recipe.py` holds one subclass, named `Server`."""

import importlib.util
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from launcher import install, place


@dataclass
class Command:
    """How the server process is started."""

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None


class Recipe:
    """One kind of server. The folder is its own, made before `prepare`; it survives `kill` and `stop`."""

    name: str
    # What stands before HOST:PORT in its address.
    scheme = ""
    stop_signal = signal.SIGTERM
    # Packages that only root may use need a folder that another user can reach.
    user: str | None = None
    # The folder whose requirements.txt has the official client.
    packages: str | None = None

    @property
    def variable(self) -> str:
        """The variable that tells the tests its address."""
        return f"TIDEMARK_TEST_{self.name.upper()}"

    def install(self) -> None:
        """Gets what is missing on this machine."""
        self.python()

    def python(self) -> Path:
        """The interpreter that has the official client."""
        return install.python(self.packages or self.name)

    def prepare(self, folder: Path, port: int) -> None:
        """Before the first start in an empty folder."""

    def command(self, folder: Path, port: int) -> Command:
        """By default a server of ours: `server.py PORT FOLDER` in the server's folder, which may import what is in `shared`."""
        script = place.SOURCES / self.name / "server.py"
        environment = {"PYTHONPATH": str(place.SOURCES / "shared")}
        return Command([str(self.python()), "-B", str(script), str(port), str(folder)], environment)

    def address(self, port: int) -> str:
        """What the tests are given."""
        return f"{self.scheme}127.0.0.1:{port}"

    def probe(self, address: str) -> None:
        """Asks the server something that only a working one answers; raises where it does not.

        By default through the official client: `probe.py ADDRESS` in the server's folder."""
        probe = [str(self.python()), "-B", str(place.SOURCES / self.name / "probe.py"), address]
        subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=30)


class Unknown(Exception):
    """A name that no folder has."""


def names() -> list[str]:
    return sorted(path.parent.name for path in place.SOURCES.glob("*/recipe.py") if path.parent.name != "launcher")


def load(name: str) -> Recipe:
    """The recipe of a kind, or of one instance of it (`kafka` and `kafka@crash` have the same)."""
    kind = name.partition("@")[0]
    if kind not in names():
        raise Unknown(f"no such server: {kind} (there are: {', '.join(names())})")
    spec = importlib.util.spec_from_file_location(f"recipe_{kind}", place.SOURCES / kind / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Server()
