"""Qdrant: its storage engine as a Python package behind the official gRPC services. No key."""

import shutil
import sys
from pathlib import Path

from launcher import install
from launcher.recipe import Command, Recipe


class Server(Recipe):
    name = "qdrant"
    scheme = "http://"

    def install(self) -> None:
        super().install()
        try:
            install.program("eatmydata", "eatmydata")
        except (RuntimeError, OSError) as error:
            print(f"qdrant goes without eatmydata, and slowly: {error}", file=sys.stderr)

    def command(self, folder: Path, port: int) -> Command:
        """The engine syncs a dozen files for each index that it makes. Tests kill processes, not machines: that can be left out."""
        command = super().command(folder, port)
        if eatmydata := shutil.which("eatmydata"):
            command.arguments.insert(0, eatmydata)
        return command
