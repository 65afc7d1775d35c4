"""Qdrant's gRPC services over its engine: server.py PORT FOLDER.

Storage, filters, conditions and distances are the engine's; statuses, aliases and the rules of collections follow the real
server's. What it leaves out answers UNIMPLEMENTED: sparse and multi-vectors, prefetch, recommend, groups, snapshots, shards; and
there is no key, TLS, strict mode or rate limit. A write is applied at once whether it waits or not; searches are exact.
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from collections_kept import Collections
from collections_service import CollectionsService
from points_service import PointsService
from qdrant_client import grpc as wire
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2_grpc

# A test may ask for a server that does not know conditional upserts yet (1.15).
VERSION = os.environ.get("TIDEMARK_QDRANT_VERSION", "1.17.0")
CALLS_AT_ONCE = 16


class Health(qdrant_pb2_grpc.QdrantServicer):
    def HealthCheck(self, request, context):
        return wire.HealthCheckReply(title="qdrant - vector search engine", version=VERSION)


def main(port: int, folder: Path) -> None:
    kept = Collections(folder)
    # No limit on a message, as the real server; the port is ours alone.
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(CALLS_AT_ONCE), options=options)
    conditional = tuple(map(int, VERSION.split(".")[:2])) >= (1, 16)
    collections_service_pb2_grpc.add_CollectionsServicer_to_server(CollectionsService(kept), server)
    points_service_pb2_grpc.add_PointsServicer_to_server(PointsService(kept, conditional), server)
    qdrant_pb2_grpc.add_QdrantServicer_to_server(Health(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
