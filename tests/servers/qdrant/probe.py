"""Asks the server for its collections, by the official client: probe.py URL."""

import sys
from urllib.parse import urlsplit

from qdrant_client import QdrantClient

address = urlsplit(sys.argv[1])
client = QdrantClient(host=address.hostname, grpc_port=address.port, prefer_grpc=True, check_compatibility=False, timeout=10)
client.get_collections()
