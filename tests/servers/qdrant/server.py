"""Qdrant's gRPC services over its engine: server.py PORT FOLDER.

Storage, filters, conditions and distances are the engine's; statuses, aliases and the rules of collections follow the real
server's. What it leaves out answers UNIMPLEMENTED: sparse and multi-vectors, prefetch, recommend, groups, snapshots, shards; and
there is no TLS, strict mode or rate limit. A write is applied at once whether it waits or not; searches are exact.

A test may put files into the folder, which hold from then on (wishes.py): `version` for a server of that release (before 1.16 it
knows no conditions of upserts), `key` for one that wants this key, `poison` for one that refuses points with that text in their
payload, `faults` for calls that go wrong (shared/faults.py; every write of points or payloads is a call there).
"""

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
from wishes import Wishes

CALLS_AT_ONCE = 16


class Health(qdrant_pb2_grpc.QdrantServicer):
    def __init__(self, wishes: Wishes):
        self.wishes = wishes

    def HealthCheck(self, request, context):
        return wire.HealthCheckReply(title="qdrant - vector search engine", version=self.wishes.version())


def main(port: int, folder: Path) -> None:
    kept = Collections(folder)
    wishes = Wishes(folder)
    # No limit on a message, as the real server; the port is ours alone.
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(CALLS_AT_ONCE), options=options, interceptors=[wishes])
    collections_service_pb2_grpc.add_CollectionsServicer_to_server(CollectionsService(kept), server)
    points_service_pb2_grpc.add_PointsServicer_to_server(PointsService(kept, wishes), server)
    qdrant_pb2_grpc.add_QdrantServicer_to_server(Health(wishes), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
