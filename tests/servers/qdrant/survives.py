"""What was acknowledged before a kill must be there after it: survives.py write|read URL."""

import sys
from urllib.parse import urlsplit

from qdrant_client import QdrantClient, models

address = urlsplit(sys.argv[2])
client = QdrantClient(host=address.hostname, grpc_port=address.port, prefer_grpc=True, check_compatibility=False, timeout=30)
if sys.argv[1] == "write":
    client.create_collection("survives", models.VectorParams(size=2, distance=models.Distance.COSINE), metadata={"fingerprint": "f"})
    alias = models.CreateAlias(collection_name="survives", alias_name="survives_alias")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    client.create_payload_index("survives", "n", models.PayloadSchemaType.INTEGER, wait=True)
    for number in range(50):
        client.upsert("survives", [models.PointStruct(id=number, vector=[1, number], payload={"n": number})], wait=True)
else:
    found = client.scroll("survives_alias", limit=100)[0]
    assert sorted(one.payload["n"] for one in found) == list(range(50)), found
    info = client.get_collection("survives")
    assert info.config.metadata == {"fingerprint": "f"} and list(info.payload_schema) == ["n"], info
