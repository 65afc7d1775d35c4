"""What was acknowledged before a kill must be there after it: survives.py write|read HOST:PORT."""

import sys
import uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

servers = {"bootstrap.servers": sys.argv[2], "reconnect.backoff.max.ms": 200}
COUNT = 50

if sys.argv[1] == "write":
    admin = AdminClient(servers)
    admin.create_topics([NewTopic("survives", 1, 1)])["survives"].result(30)
    failed = []
    producer = Producer({**servers, "enable.idempotence": True})
    for number in range(COUNT):
        producer.produce("survives", str(number), on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(30) == 0 and not failed, failed
else:
    consumer = Consumer({**servers, "group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"})
    consumer.subscribe(["survives"])
    found = []
    while len(found) < COUNT:
        message = consumer.poll(30)
        assert message is not None, f"only {len(found)} records came back"
        assert message.error() is None, message.error()
        found.append(int(message.value()))
    consumer.close()
    assert found == list(range(COUNT)), found
