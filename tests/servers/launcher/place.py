"""Where servers live, and which of them run.

Everything lies under `target/servers` of the checkout, whatever the build's target folder is: `software/` (what was
installed, kept), `data/` (one folder for each running server, gone after `down`), `run/<name>.json` (what runs).
A process is known by its number and its start time, so that a number used again is not taken for the server.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent
ROOT = SOURCES.parent.parent / "target" / "servers"
SOFTWARE = ROOT / "software"
DATA = ROOT / "data"
RUN = ROOT / "run"
LOCKS = ROOT / "locks"

# Below the range from which the kernel gives out ports to clients: a server that is down for a moment must find its port free
# again, and a client that knocks meanwhile must not be connected with itself. In pairs: the second one is the server's own.
PORTS = range(21000, 32000, 2)


@dataclass
class Running:
    """One server as it was started last; it may have died since."""

    name: str
    address: str
    port: int
    folder: str
    pid: int
    born: int

    def alive(self) -> bool:
        return self.pid > 0 and birth(self.pid) == self.born

    def save(self) -> None:
        RUN.mkdir(parents=True, exist_ok=True)
        path = RUN / f"{self.name}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=1) + "\n")
        fresh.rename(path)

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        (RUN / f"{self.name}.json").unlink(missing_ok=True)


def known(name: str) -> Running | None:
    try:
        return Running(**json.loads((RUN / f"{name}.json").read_text()))
    except FileNotFoundError:
        return None


def names_known() -> list[str]:
    return sorted(path.stem for path in RUN.glob("*.json"))


@contextlib.contextmanager
def lock(name: str):
    """One command at a time for each name; the kernel lets go when a holder dies."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    with open(LOCKS / name, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A port that nobody listens on, nor on the next one, and that no other server of ours was given."""
    given = {server.port for server in map(known, names_known()) if server}
    start = (os.getpid() * 7919 + time.monotonic_ns()) % len(PORTS)
    for step in range(len(PORTS)):
        port = PORTS[(start + step) % len(PORTS)]
        if port not in given and can_listen(port) and can_listen(port + 1):
            return port
    raise RuntimeError(f"no free port between {PORTS.start} and {PORTS.stop}")


def can_listen(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def birth(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None where there is none, or only its remains."""
    fields = stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the program's name."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def descendants(pid: int) -> list[int]:
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat(int(entry))):
            parents[int(entry)] = int(fields[1])
    found, look = [], [pid]
    while look:
        parent = look.pop()
        children = [child for child, its_parent in parents.items() if its_parent == parent]
        found += children
        look += children
    return found


def kill(server: Running) -> None:
    """kill -9 of the server and all its children, as a power cut does it: none may go on working."""
    if not server.alive():
        return
    # Stopped first: it must not have another child between the look and the kill.
    send(server.pid, signal.SIGSTOP)
    doomed = [server.pid, *descendants(server.pid)]
    for pid in doomed:
        send(pid, signal.SIGKILL)
    wait_gone(doomed, 10)


def stop(server: Running, by: signal.Signals, patience_s: float = 15) -> None:
    """The orderly end; a server that does not obey is killed."""
    if not server.alive():
        return
    family = [server.pid, *descendants(server.pid)]
    # One that a test has paused could not hear it.
    send(server.pid, signal.SIGCONT)
    send(server.pid, by)
    if not wait_gone(family, patience_s):
        kill(server)


def send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_gone(pids: list[int], patience_s: float) -> bool:
    end = time.monotonic() + patience_s
    while any(birth(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
