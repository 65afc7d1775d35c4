"""ClickHouse: its engine as a Python package behind an HTTP front of ours. User `default`, no password."""

from pathlib import Path

from launcher import place
from launcher.recipe import Command, Recipe


class Server(Recipe):
    name = "clickhouse"
    variable = "TIDEMARK_TEST_CLICKHOUSE"

    def command(self, folder: Path, port: int) -> Command:
        script = place.SOURCES / self.name / "server.py"
        # The engine takes its time zone from the environment.
        return Command([str(self.python()), "-B", str(script), str(port), str(folder)], {"TZ": "UTC"})

    def address(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"
