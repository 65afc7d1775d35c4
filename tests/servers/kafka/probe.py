"""Asks the broker for its topics and for the coordinator of a group, by the official client: probe.py ADDRESS."""

import sys

from confluent_kafka.admin import AdminClient

admin = AdminClient({"bootstrap.servers": sys.argv[1], "reconnect.backoff.max.ms": 200, "log_level": 0})
assert admin.list_topics(timeout=5).brokers
admin.list_consumer_groups(request_timeout=5).result()
