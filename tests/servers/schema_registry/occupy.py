"""Puts a schema under a subject that nothing of Tidemark goes with: occupy.py URL SUBJECT."""

import sys

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

client = SchemaRegistryClient({"url": sys.argv[1]})
client.register_schema(sys.argv[2], Schema('{"type": "record", "name": "other", "fields": [{"name": "key", "type": "int"}]}', "AVRO"))
