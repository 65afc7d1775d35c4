"""NebulaGraph: a stand-in for graphd on the official wire code. User `root`, password `nebula`."""

from pathlib import Path

from launcher import place
from launcher.recipe import Command, Recipe


class Server(Recipe):
    name = "nebula"
    variable = "TIDEMARK_TEST_NEBULA"

    def command(self, folder: Path, port: int) -> Command:
        script = place.SOURCES / self.name / "server.py"
        return Command([str(self.python()), "-B", str(script), str(port), str(folder)])
