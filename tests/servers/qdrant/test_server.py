"""The stand-in against the official client: test_server.py URL."""

import sys
import time
import unittest
import uuid
from urllib.parse import urlsplit

import grpc
from qdrant_client import QdrantClient, models

URL = urlsplit(sys.argv.pop(1))


def connect() -> QdrantClient:
    return QdrantClient(host=URL.hostname, grpc_port=URL.port, prefer_grpc=True, check_compatibility=False, timeout=30)


def below(version: int) -> models.Filter:
    """The gate of a sink: older than this, or without a version."""
    older = models.FieldCondition(key="version", range=models.Range(lt=version))
    return models.Filter(should=[older, models.IsEmptyCondition(is_empty=models.PayloadField(key="version"))])


class Case(unittest.TestCase):
    def setUp(self):
        self.client = connect()
        self.name = f"stand_in_{uuid.uuid4().hex[:8]}"
        self.client.create_collection(self.name, models.VectorParams(size=4, distance=models.Distance.COSINE))
        self.addCleanup(self.client.close)
        self.addCleanup(self.client.delete_collection, self.name)

    def refuse(self, code: grpc.StatusCode, fragment: str, call, *arguments, **named) -> None:
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **named)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        self.assertIn(fragment, caught.exception.details())

    def versions(self) -> dict:
        return {str(one.id): one.payload.get("version") for one in self.client.scroll(self.name, limit=1000)[0]}


class LifeCycle(Case):
    def test_points_come_back_as_they_went(self):
        key = str(uuid.uuid4())
        payload = {
            "text": "a'\"`\\\n$😀", "number": 2**53 - 1, "fraction": 0.1, "yes": True, "nothing": None,
            "nested": {"list": [1, "甲", {"deep": []}]},
        }  # fmt: skip
        points = [
            models.PointStruct(id=key, vector=[1, 0, 0, 0], payload=payload),
            models.PointStruct(id=2**64 - 1, vector=[0, 1, 0, 0], payload={}),
        ]
        self.client.upsert(self.name, points, wait=True)
        found = self.client.retrieve(self.name, [key, 2**64 - 1], with_payload=True, with_vectors=True)
        self.assertCountEqual([one.id for one in found], [key, 2**64 - 1])
        one = next(one for one in found if one.id == key)
        self.assertEqual((one.payload, one.vector), (payload, [1, 0, 0, 0]))
        self.assertEqual(self.client.count(self.name).count, 2)
        nearest = self.client.query_points(self.name, query=[1, 0.1, 0, 0], limit=1).points
        self.assertEqual(nearest[0].id, key)
        self.assertEqual(self.client.query_points(self.name, query=key, limit=5).points[0].id, 2**64 - 1)
        self.client.delete(self.name, models.PointIdsList(points=[key]), wait=True)
        self.assertEqual([one.id for one in self.client.scroll(self.name)[0]], [2**64 - 1])

    def test_collections_are_described(self):
        self.client.create_payload_index(self.name, "code", models.PayloadSchemaType.KEYWORD, wait=True)
        self.client.create_payload_index(self.name, "version", models.PayloadSchemaType.INTEGER, wait=True)
        info = self.client.get_collection(self.name)
        self.assertEqual(info.config.params.vectors, models.VectorParams(size=4, distance=models.Distance.COSINE))
        self.assertEqual({name: index.data_type.value for name, index in info.payload_schema.items()}, {"code": "keyword", "version": "integer"})
        self.assertIn(self.name, [one.name for one in self.client.get_collections().collections])
        self.assertTrue(self.client.collection_exists(self.name))
        self.assertFalse(self.client.collection_exists("no_such"))

    def test_filters(self):
        points = [
            models.PointStruct(id=n, vector=[1, n, 0, 0], payload={"n": n, "even": n % 2 == 0, "code": f"c{n}", "tags": ["a"] * n}) for n in range(10)
        ]
        self.client.upsert(self.name, points, wait=True)

        def ids(*conditions):
            return sorted(one.id for one in self.client.scroll(self.name, models.Filter(must=list(conditions)), limit=100)[0])

        field, match = models.FieldCondition, models.MatchValue
        self.assertEqual(ids(field(key="even", match=match(value=True))), [0, 2, 4, 6, 8])
        self.assertEqual(ids(field(key="code", match=models.MatchAny(any=["c1", "c7"]))), [1, 7])
        self.assertEqual(ids(field(key="n", range=models.Range(gte=3, lt=5))), [3, 4])
        self.assertEqual(ids(field(key="tags", values_count=models.ValuesCount(gt=8))), [9])
        self.assertEqual(ids(models.HasIdCondition(has_id=[1, 2]), field(key="n", match=match(value=2))), [2])
        pages, offset = [], None
        while True:
            page, offset = self.client.scroll(self.name, limit=3, offset=offset)
            pages.append([one.id for one in page])
            if offset is None:
                break
        self.assertEqual(pages, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]])

    def test_an_alias_is_moved_at_once(self):
        other, alias = f"{self.name}_2", f"{self.name}_alias"
        self.client.create_collection(other, models.VectorParams(size=4, distance=models.Distance.DOT))
        self.addCleanup(self.client.delete_collection, other)
        for target in (self.name, other):
            self.client.update_collection_aliases(
                [models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=target, alias_name=alias))]
            )
        self.client.upsert(alias, [models.PointStruct(id=1, vector=[1, 0, 0, 0])], wait=True)
        self.assertEqual((self.client.count(self.name).count, self.client.count(other).count), (0, 1))
        self.assertEqual([one.alias_name for one in self.client.get_collection_aliases(other).aliases], [alias])
        wrong = [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)),
                 models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name="no_such", alias_name=alias))]  # fmt: skip
        self.refuse(grpc.StatusCode.NOT_FOUND, "no_such", self.client.update_collection_aliases, wrong)
        self.assertEqual(self.client.count(alias).count, 1, "all actions of a call or none")


class TheGate(Case):
    def put(self, version: int, key: int = 1):
        point = models.PointStruct(id=key, vector=[1, version, 0, 0], payload={"version": version})
        self.client.upsert(self.name, [point], wait=True, update_filter=below(version))

    def test_only_a_newer_version_is_applied(self):
        for version, then in ((5, 5), (3, 5), (5, 5), (9, 9)):
            self.put(version)
            self.assertEqual(self.versions(), {"1": then})
        largest = 2**53 - 1
        self.put(largest - 1)
        self.put(largest)
        self.assertEqual(self.versions(), {"1": largest})

    def test_each_list_of_a_batch_has_its_own_condition(self):
        self.put(5, 1)
        self.put(5, 2)
        operations = []
        for key, version in ((1, 4), (2, 6), (3, 1)):
            point = models.PointStruct(id=key, vector=[1, 0, 0, 0], payload={"version": version})
            operations.append(models.UpsertOperation(upsert=models.PointsList(points=[point], update_filter=below(version))))
        self.client.batch_update_points(self.name, operations, wait=True)
        self.assertEqual(self.versions(), {"1": 5, "2": 6, "3": 1})

    def test_a_batch_is_no_transaction(self):
        good = models.UpsertOperation(upsert=models.PointsList(points=[models.PointStruct(id=1, vector=[1, 0, 0, 0])]))
        bad = models.UpsertOperation(upsert=models.PointsList(points=[models.PointStruct(id=2, vector=[1, 0, 0])]))
        self.refuse(
            grpc.StatusCode.INVALID_ARGUMENT, "expected dim: 4, got 3", self.client.batch_update_points, self.name, [good, bad], wait=True
        )
        self.assertEqual(self.client.count(self.name).count, 1)


class Refusals(Case):
    def test_one_wrong_point_leaves_none_behind(self):
        points = [models.PointStruct(id=1, vector=[1, 0, 0, 0]), models.PointStruct(id=2, vector=[1, 0, 0, 0, 0])]
        self.refuse(grpc.StatusCode.INVALID_ARGUMENT, "expected dim: 4, got 5", self.client.upsert, self.name, points, wait=True)
        self.assertEqual(self.client.count(self.name).count, 0)
        points[1] = models.PointStruct(id=2, vector={"other": [1, 0, 0, 0]})
        self.refuse(grpc.StatusCode.INVALID_ARGUMENT, "Not existing vector name", self.client.upsert, self.name, points, wait=True)

    def test_names_that_are_not_there(self):
        self.refuse(grpc.StatusCode.NOT_FOUND, "Collection `no_such` doesn't exist!", self.client.count, "no_such")
        self.refuse(grpc.StatusCode.NOT_FOUND, "No point with id", self.client.query_points, self.name, query=77)
        again = models.VectorParams(size=4, distance=models.Distance.COSINE)
        self.refuse(grpc.StatusCode.ALREADY_EXISTS, "already exists!", self.client.create_collection, self.name, again)


class Speed(Case):
    def test_batches_go_in_fast_enough_for_the_load_tests(self):
        start = time.monotonic()
        for batch in range(20):
            points = [models.PointStruct(id=batch * 256 + n, vector=[1, n, batch, 0], payload={"version": 1, "n": n}) for n in range(256)]
            self.client.upsert(self.name, points, wait=True, update_filter=below(1))
        rate = 20 * 256 / (time.monotonic() - start)
        print(f"{rate:.0f} points/s", file=sys.stderr)
        self.assertEqual(self.client.count(self.name).count, 20 * 256)
        # Far below what it does, so that a busy machine does not matter.
        self.assertGreater(rate, 500)


if __name__ == "__main__":
    unittest.main()
