"""The topics whose names begin so, without that beginning, and how each is cleaned up, as JSON: topics.py HOST:PORT PREFIX."""

import json
import sys

from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

admin = AdminClient({"bootstrap.servers": sys.argv[1]})
names = [name for name in admin.list_topics(timeout=30).topics if name.startswith(sys.argv[2])]
asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
policies = {resource.name: found.result(30)["cleanup.policy"].value for resource, found in asked.items()}
print(json.dumps({name.removeprefix(sys.argv[2]): policy for name, policy in policies.items()}))
