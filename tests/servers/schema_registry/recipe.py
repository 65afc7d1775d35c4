"""A schema registry of the Confluent kind, ours; see server.py for why. Its Python packages are those of the Kafka client."""

from pathlib import Path

from launcher import place
from launcher.recipe import Command, Recipe


class Server(Recipe):
    name = "schema_registry"
    variable = "TIDEMARK_TEST_SCHEMA_REGISTRY"
    packages = "kafka"

    def command(self, folder: Path, port: int) -> Command:
        script = place.SOURCES / self.name / "server.py"
        return Command([str(self.python()), "-B", str(script), str(port), str(folder)])

    def address(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"
