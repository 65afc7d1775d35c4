"""A schema registry of the Confluent kind, ours; see server.py for why. Its Python packages are those of the Kafka client."""

from launcher.recipe import Recipe


class Server(Recipe):
    name = "schema_registry"
    scheme = "http://"
    packages = "kafka"
