"""A source of somebody else's: publish.py HOST:PORT REGISTRY_URL TOPIC SOURCE SEQUENCE KEY ROW puts one insert onto a change topic.

Its schema is the first one of the subject with a field more that Tidemark does not know, registered by the official serializer.
"""

import json
import sys
import uuid
from datetime import datetime, timezone

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers, registry, topic, source, sequence, key, row = sys.argv[1:]
client = SchemaRegistryClient({"url": registry})
schema = json.loads(client.get_version(f"{topic}-value", 1).schema.schema_str)
schema["fields"].append({"name": "mood", "type": ["null", "string"], "default": None})
change = {
    "key": key,
    "operation": "INSERT",
    "row": json.loads(row),
    "source": source,
    "source_seq": int(sequence),
    "snapshot": False,
    "row_hash": 0,
    "ingested_at": datetime.now(timezone.utc),
    "event_id": uuid.uuid5(uuid.NAMESPACE_URL, f"{source}|{sequence}").bytes,
    "claim": "",
    "mood": "fine",
}
value = AvroSerializer(client, json.dumps(schema))(change, SerializationContext(topic, MessageField.VALUE))
failed = []
producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random", "enable.idempotence": True})
producer.produce(topic, key=key, value=value, on_delivery=lambda error, _: failed.append(error) if error else None)
assert producer.flush(30) == 0 and not failed, failed
