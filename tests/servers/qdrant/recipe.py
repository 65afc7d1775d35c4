"""Qdrant: its storage engine as a Python package behind the official gRPC services. No key."""

from launcher.recipe import Recipe


class Server(Recipe):
    name = "qdrant"
    scheme = "http://"
