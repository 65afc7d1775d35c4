"""Asks the registry for its subjects, by the official client: probe.py URL."""

import sys

from confluent_kafka.schema_registry import SchemaRegistryClient

SchemaRegistryClient({"url": sys.argv[1]}).get_subjects()
