"""What the services do when a test wants them to be otherwise: test_wishes.py URL FOLDER."""

import sys
import unittest
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from qdrant_client import QdrantClient, models

URL, FOLDER = urlsplit(sys.argv.pop(1)), Path(sys.argv.pop(1))


def point(key: int, version: int, text: str = "") -> models.PointStruct:
    return models.PointStruct(id=key, vector=[1, 0], payload={"version": version, "text": text})


class Wished(unittest.TestCase):
    def setUp(self):
        self.client = self.connect()
        self.name = f"wished_{uuid.uuid4().hex[:8]}"
        self.client.create_collection(self.name, models.VectorParams(size=2, distance=models.Distance.COSINE))
        self.addCleanup(self.client.delete_collection, self.name)
        self.addCleanup(self.forget)

    def connect(self, **more) -> QdrantClient:
        return QdrantClient(host=URL.hostname, grpc_port=URL.port, prefer_grpc=True, check_compatibility=False, timeout=30, **more)

    def wish(self, name: str, text: str) -> None:
        (FOLDER / name).write_text(text)

    def forget(self) -> None:
        for name in ("version", "key", "poison", "faults"):
            (FOLDER / name).unlink(missing_ok=True)

    def put(self, *points) -> None:
        older = models.Filter(must=[models.FieldCondition(key="version", range=models.Range(lt=points[0].payload["version"]))])
        self.client.upsert(self.name, list(points), wait=True, update_filter=older)

    def versions(self) -> dict:
        return {one.id: one.payload["version"] for one in self.client.scroll(self.name, limit=100)[0]}

    def refuse(self, code: grpc.StatusCode, fragment: str, call, *arguments) -> None:
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        self.assertIn(fragment, caught.exception.details())

    def test_an_old_server_passes_over_conditions(self):
        self.put(point(1, 5))
        self.put(point(1, 3))
        self.assertEqual(self.versions(), {1: 5})
        self.wish("version", "1.15.5")
        self.put(point(1, 3))
        self.assertEqual(self.versions(), {1: 3})

    def test_faults_meet_the_writing_calls_in_their_order(self):
        self.wish("faults", "before 4 Timeout expired\npass\nafter 14 gone\n")
        self.refuse(grpc.StatusCode.DEADLINE_EXCEEDED, "Timeout expired", self.put, point(1, 1))
        self.assertEqual(self.versions(), {}, "and reading calls are spared")
        self.put(point(2, 1))
        self.refuse(grpc.StatusCode.UNAVAILABLE, "gone", self.put, point(3, 1))
        self.assertEqual(self.versions(), {2: 1, 3: 1})
        self.assertFalse((FOLDER / "faults").exists())
        self.put(point(4, 1))

    def test_poison_leaves_none_of_its_neighbours_behind(self):
        self.wish("poison", "毒")
        self.refuse(grpc.StatusCode.INVALID_ARGUMENT, "poison", self.put, point(1, 1), point(2, 1, "一毒二"))
        self.assertEqual(self.versions(), {})
        self.put(point(1, 1))
        self.forget()
        self.put(point(2, 1, "一毒二"))

    def test_a_key_is_asked_for_by_every_call(self):
        self.wish("key", "right")
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        self.refuse(unauthenticated, "API key", self.client.get_collections)
        # The client takes a key only where it believes the way to be safe.
        for key, known in (("wrong", False), ("right", True)):
            channel = grpc.insecure_channel(URL.netloc)
            ask = channel.unary_unary("/qdrant.Collections/List")
            if known:
                ask(b"", metadata=[("api-key", key)])
            else:
                self.refuse(unauthenticated, "API key", lambda: ask(b"", metadata=[("api-key", key)]))
            channel.close()
        self.forget()
        self.client.get_collections()


if __name__ == "__main__":
    unittest.main()
