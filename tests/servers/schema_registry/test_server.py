"""The registry against the official client: test_server.py URL."""

import json
import sys
import unittest
import uuid

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

URL = sys.argv.pop(1)


def record(*fields: str) -> str:
    named = [{"name": name, "type": ["null", "string"], "default": None} for name in fields]
    return json.dumps({"type": "record", "name": f"R{uuid.uuid4().hex[:8]}", "fields": named})


class TheOfficialClient(unittest.TestCase):
    def setUp(self):
        self.client = SchemaRegistryClient({"url": URL})
        self.subject = f"stand-in/{uuid.uuid4().hex[:8]}-value"

    def test_a_schema_has_one_id_and_a_subject_its_versions(self):
        first, second = record("a"), record("a", "b")
        number = self.client.register_schema(self.subject, Schema(first, "AVRO"))
        spaced = json.dumps(json.loads(first), indent=4)
        self.assertEqual(SchemaRegistryClient({"url": URL}).register_schema(self.subject, Schema(spaced, "AVRO")), number)
        self.assertEqual(self.client.register_schema(self.subject + "2", Schema(first, "AVRO")), number)
        later = self.client.register_schema(self.subject, Schema(second, "AVRO"))
        self.assertNotEqual(later, number)
        self.assertEqual(self.client.get_versions(self.subject), [1, 2])
        latest = self.client.get_latest_version(self.subject)
        self.assertEqual((latest.version, latest.schema_id), (2, later))
        self.assertEqual(json.loads(SchemaRegistryClient({"url": URL}).get_schema(number).schema_str), json.loads(first))

    def test_framed_records_go_through(self):
        schema = record("name")
        context = SerializationContext("topic", MessageField.VALUE)
        packed = AvroSerializer(self.client, schema)({"name": "甲"}, context)
        self.assertEqual(packed[0], 0)
        self.assertEqual(AvroDeserializer(SchemaRegistryClient({"url": URL}))(packed, context), {"name": "甲"})

    def test_a_subject_under_full_transitive_compatibility_takes_only_what_goes_with_all(self):
        with self.assertRaises(SchemaRegistryError) as caught:
            self.client.get_compatibility(self.subject)
        self.assertEqual(caught.exception.error_code, 40408)
        self.client.set_compatibility(self.subject, "FULL_TRANSITIVE")
        self.assertEqual(SchemaRegistryClient({"url": URL}).get_compatibility(self.subject), "FULL_TRANSITIVE")
        name = f"R{uuid.uuid4().hex[:8]}"
        optional = {"name": "b", "type": ["null", "string"], "default": None}
        for number, fields in enumerate(([{"name": "a", "type": "long"}], [{"name": "a", "type": "long"}, optional])):
            text = json.dumps({"type": "record", "name": name, "fields": fields})
            self.client.register_schema(self.subject, Schema(text, "AVRO"))
            self.assertEqual(len(self.client.get_versions(self.subject)), number + 1)
        for fields in ([optional], [{"name": "a", "type": "string"}], [{"name": "a", "type": "long"}, {"name": "c", "type": "long"}]):
            text = json.dumps({"type": "record", "name": name, "fields": fields})
            with self.assertRaises(SchemaRegistryError) as caught:
                self.client.register_schema(self.subject, Schema(text, "AVRO"))
            self.assertEqual(caught.exception.http_status_code, 409)
        self.assertEqual(self.client.get_versions(self.subject), [1, 2])

    def test_refusals(self):
        for call, code in (
            (lambda: self.client.get_latest_version("no-such"), 40401),
            (lambda: self.client.get_schema(2**30), 40403),
            (lambda: self.client.register_schema(self.subject, Schema('{"type": "no such type"}', "AVRO")), 42201),
        ):
            with self.assertRaises(SchemaRegistryError) as caught:
                call()
            self.assertEqual(caught.exception.error_code, code)

    def test_credentials(self):
        SchemaRegistryClient({"url": URL, "basic.auth.user.info": "registry:secret"}).get_subjects()
        with self.assertRaises(SchemaRegistryError) as caught:
            SchemaRegistryClient({"url": URL, "basic.auth.user.info": "registry:wrong"}).get_subjects()
        self.assertEqual(caught.exception.http_status_code, 401)


if __name__ == "__main__":
    unittest.main()
