"""A PostgreSQL cluster of its own, from the Debian package. Superuser `tidemark`, database `tidemark`, no password on loopback.

Durability is on as delivered (fsync, synchronous_commit): the benchmark's figures are those of an ordinary server.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from launcher import install
from launcher.recipe import Command, Recipe

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # A checkout's path is often too long for a socket's.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    # In the data folder, so that nothing is left behind in /dev/shm after a kill -9.
    "dynamic_shared_memory_type": "mmap",
    "jit": "off",
}


def programs() -> Path | None:
    """The newest installed version's folder of programs: Debian does not put it on the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


class Server(Recipe):
    name = "postgres"
    # The fast shutdown: does not wait for clients to leave.
    stop_signal = signal.SIGINT
    # The server refuses to run as root.
    user = "postgres"

    def install(self) -> None:
        if programs() is None:
            install.apt("postgresql")

    def python(self) -> Path:
        return Path(sys.executable)

    def prepare(self, folder: Path, port: int) -> None:
        become = ["runuser", "-u", self.user, "--"] if os.geteuid() == 0 else []
        initdb = [str(programs() / "initdb"), "--pgdata", str(folder / "data"), "--username", "tidemark", "--auth", "trust"]
        install.run([*become, *initdb, "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"], cwd=folder)

    def command(self, folder: Path, port: int) -> Command:
        # Left by a kill -9. Where nobody collects the dead process its number still looks taken, and the server would not start.
        (folder / "data/postmaster.pid").unlink(missing_ok=True)
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(port)}.items()]
        return Command([str(programs() / "postgres"), "-D", str(folder / "data"), *settings], user=self.user)

    def address(self, port: int) -> str:
        return f"postgres://tidemark@127.0.0.1:{port}/tidemark"

    def probe(self, address: str) -> None:
        psql = [str(programs() / "psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        maintenance = address.rpartition("/")[0] + "/postgres"
        there = install.run([*psql, maintenance, "--command", "SELECT count(*) FROM pg_database WHERE datname = 'tidemark'"])
        if there.strip() == "0":
            install.run([*psql, maintenance, "--command", "CREATE DATABASE tidemark"])
        install.run([*psql, address, "--command", "SELECT 1"])
