"""What a reader from elsewhere meets on a topic: framings.py HOST:PORT TOPIC prints, as JSON, how many values begin with which byte.

Every record must have a key of plain UTF-8, no headers and a value.
"""

import collections
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

brokers, topic = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "framings", "enable.auto.commit": False, "enable.partition.eof": True})
partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
left, counts = set(partitions), collections.Counter()
while left:
    message = consumer.poll(30)
    assert message is not None, f"{topic} does not end"
    if message.error() is not None:
        assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
        left.discard(message.partition())
        continue
    assert message.key().decode() and message.headers() is None, (message.key(), message.headers())
    counts[message.value()[0]] += 1
consumer.close()
print(json.dumps(counts))
