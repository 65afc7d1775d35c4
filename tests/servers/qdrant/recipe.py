"""Qdrant: its storage engine as a Python package behind the official gRPC services. No key."""

from pathlib import Path

from launcher import place
from launcher.recipe import Command, Recipe


class Server(Recipe):
    name = "qdrant"
    variable = "TIDEMARK_TEST_QDRANT"

    def command(self, folder: Path, port: int) -> Command:
        script = place.SOURCES / self.name / "server.py"
        return Command([str(self.python()), "-B", str(script), str(port), str(folder)])

    def address(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"
