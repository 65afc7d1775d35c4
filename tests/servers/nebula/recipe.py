"""NebulaGraph: a stand-in for graphd on the official wire code. User `root`, password `nebula`."""

from launcher.recipe import Recipe


class Server(Recipe):
    name = "nebula"
