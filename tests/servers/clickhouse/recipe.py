"""ClickHouse: its engine as a Python package behind an HTTP front of ours. User `default`, no password."""

from pathlib import Path

from launcher.recipe import Command, Recipe


class Server(Recipe):
    name = "clickhouse"
    scheme = "http://"

    def command(self, folder: Path, port: int) -> Command:
        command = super().command(folder, port)
        # The engine takes its time zone from the environment.
        command.environment["TZ"] = "UTC"
        return command
