"""What was acknowledged before a kill must be there after it: survives.py write|read URL."""

import sys

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

client = SchemaRegistryClient({"url": sys.argv[2]})
schema = Schema('{"type": "record", "name": "Survives", "fields": []}', "AVRO")
if sys.argv[1] == "write":
    assert client.register_schema("survives", schema) == 1
else:
    assert client.get_latest_version("survives").schema_id == 1
