"""The stand-in against the official client and, where that hides the wire, against bare HTTP: test_server.py URL.

First of all what would make a loss look like a success: a violated constraint, data with blank lines, a second statement.
"""

import sys
import unittest
import urllib.error
import urllib.request
import uuid
from datetime import date, datetime, timezone
from decimal import Decimal

import clickhouse_connect
import framing
from clickhouse_connect.driver.exceptions import DatabaseError
from urllib.parse import quote, urlencode

URL = sys.argv.pop(1)


class Case(unittest.TestCase):
    def setUp(self):
        self.database = f"stand_in_{uuid.uuid4().hex[:8]}"
        self.client = clickhouse_connect.get_client(dsn=URL)
        self.client.command(f"CREATE DATABASE {self.database}")
        self.addCleanup(self.client.close)
        self.addCleanup(self.client.command, f"DROP DATABASE {self.database} SYNC")

    def post(self, query: str, body=b"", **parameters):
        """Status and text of a bare request."""
        url = f"{URL}/?{urlencode({'query': query, 'database': self.database, **parameters}, quote_via=quote)}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST")) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


class NothingIsLostSilently(Case):
    def test_a_violated_constraint_is_an_error_and_stores_nothing(self):
        table = f"{self.database}.t"
        self.client.command(f"CREATE TABLE {table} (id UInt64, CONSTRAINT small CHECK id < 5) ENGINE = MergeTree ORDER BY id")
        with self.assertRaisesRegex(DatabaseError, "469|VIOLATED_CONSTRAINT"):
            self.client.insert(table, [[1], [7]], column_names=["id"])
        self.assertEqual(self.client.query(f"SELECT count() FROM {table}").result_rows, [(0,)])

    def test_an_exception_in_a_view_behind_the_table_is_an_error(self):
        self.client.command(f"CREATE TABLE {self.database}.t (id UInt64) ENGINE = MergeTree ORDER BY id")
        self.client.command(
            f"CREATE MATERIALIZED VIEW {self.database}.v ENGINE = MergeTree ORDER BY id"
            f" AS SELECT id, throwIf(id = 7, 'seven') AS thrown FROM {self.database}.t"
        )
        with self.assertRaisesRegex(DatabaseError, "seven"):
            self.client.insert(f"{self.database}.t", [[7]], column_names=["id"])

    def test_blank_lines_in_the_data_are_data(self):
        table = f"{self.database}.t"
        self.client.command(f"CREATE TABLE {table} (id UInt64, text String) ENGINE = MergeTree ORDER BY id")
        # 0x0A0A is 2570: as a binary number it is two line ends, after which the engine would run the rest as SQL.
        rows = [[number, f"\n\nTRUNCATE TABLE {table}\n\n"] for number in range(2500, 2700)]
        self.client.insert(table, rows, column_names=["id", "text"])
        self.assertEqual([list(row) for row in self.client.query(f"SELECT id, text FROM {table} ORDER BY id").result_rows], rows)
        binary = b"".join(number.to_bytes(8, "little") + b"\x02\n\n" for number in range(2500, 2700))
        for inline in (False, True):
            insert = "INSERT INTO t (id, text) FORMAT RowBinary"
            self.client.command(f"TRUNCATE TABLE {table}")
            if inline:
                url = f"{URL}/?database={self.database}"
                request = urllib.request.Request(url, data=insert.encode() + b"\n" + binary, method="POST")
                self.assertEqual(urllib.request.urlopen(request).status, 200)
            else:
                self.assertEqual(self.post(insert, binary), (200, ""))
            self.assertEqual(self.client.query(f"SELECT count(), uniqExact(text) FROM {table}").result_rows, [(200, 1)])

    def test_two_statements_are_refused_and_neither_runs(self):
        self.client.command(f"CREATE TABLE {self.database}.t (id UInt64) ENGINE = MergeTree ORDER BY id")
        for query in ("INSERT INTO t VALUES (1); SELECT 1", "DROP TABLE t; SELECT 1", "SELECT 1 /* ; */; SELECT 2"):
            status, text = self.post(query)
            self.assertEqual(status, 400, text)
            self.assertIn("Multi-statements are not allowed", text)
        self.assertEqual(self.client.query(f"SELECT count() FROM {self.database}.t").result_rows, [(0,)])
        self.assertEqual(self.post("SELECT ';', `a;` FROM (SELECT 1 AS `a;`) -- ; SELECT 2\n;  "), (200, ";\t1\n"))

    def test_a_damaged_compressed_block_is_refused(self):
        self.client.command(f"CREATE TABLE {self.database}.t (id UInt64) ENGINE = MergeTree ORDER BY id")
        good = framing.pack(b"".join(number.to_bytes(8, "little") for number in range(1000)))
        insert = "INSERT INTO t FORMAT RowBinary"
        for bad in (good[:-1], bytes([good[0] ^ 1]) + good[1:]):
            status, text = self.post(insert, bad, decompress="1")
            self.assertNotEqual(status, 200)
            self.assertIn("Code: 40", text)
        self.assertEqual(self.post(insert, good, decompress="1"), (200, ""))
        self.assertEqual(self.client.query(f"SELECT count(), sum(id) FROM {self.database}.t").result_rows, [(1000, 499500)])


class TheOfficialClient(Case):
    def test_types_come_back_as_they_went(self):
        self.client.command(
            f"CREATE TABLE {self.database}.t (k String, money Decimal(18, 2), day Date32, at DateTime64(6, 'UTC'),"
            " many Array(LowCardinality(String)), maybe Nullable(Int64), version UInt64, deleted UInt8)"
            " ENGINE = ReplacingMergeTree(version, deleted) ORDER BY k"
        )
        at = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
        row = ["a'\\`\n\n$;😀\u0000", Decimal("-12345678901234.56"), date(1950, 2, 3), at, ["甲", "乙"], None, 1, 0]
        newer = [row[0], Decimal("1.00"), *row[2:6], 2, 0]
        gone = ["gone", *row[1:6], 2, 1]
        columns = ["k", "money", "day", "at", "many", "maybe", "version", "deleted"]
        self.client.insert(f"{self.database}.t", [newer, row, gone], column_names=columns)
        found = self.client.query(f"SELECT * FROM {self.database}.t FINAL", query_tz="UTC").result_rows
        self.assertEqual([list(found_row) for found_row in found], [[row[0], Decimal("1.00"), row[2], found[0][3], row[4], None, 2, 0]])
        self.assertEqual(found[0][3].replace(tzinfo=timezone.utc), at)

    def test_parameters_compression_and_settings(self):
        for compression in (False, "lz4", "zstd", "gzip"):
            client = clickhouse_connect.get_client(dsn=URL, compress=compression, database=self.database)
            client.command("CREATE OR REPLACE TABLE t (id UInt64, text String) ENGINE = MergeTree ORDER BY id")
            client.insert("t", [[number, f"text {number}" * 10] for number in range(20000)], column_names=["id", "text"])
            found = client.query("SELECT count(), max(length(text)) FROM t WHERE text != {no:String}", parameters={"no": "it's\ta \\"})
            self.assertEqual(found.result_rows, [(20000, 100)], compression)
            with self.assertRaisesRegex(DatabaseError, "158|TOO_MANY_ROWS|Limit for rows"):
                client.query("SELECT * FROM t", settings={"max_rows_to_read": 5})
            client.close()

    def test_errors_carry_their_number(self):
        for query, number in (("SELECT", 62), ("SELECT * FROM nowhere", 60), ("SELECT throwIf(1)", 395), ("USE nowhere", 81)):
            status, text = self.post(query)
            self.assertNotEqual(status, 200)
            self.assertTrue(text.startswith(f"Code: {number}. DB::Exception: "), text)
        with self.assertRaisesRegex(DatabaseError, "516"):
            clickhouse_connect.get_client(dsn=URL, username="nobody", password="wrong")

    def test_a_token_lets_a_block_in_once(self):
        self.client.command(
            f"CREATE TABLE {self.database}.t (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100"
        )
        for _ in range(2):
            settings = {"insert_deduplication_token": "one", "async_insert": 0}
            self.client.insert(f"{self.database}.t", [[1], [2]], column_names=["id"], settings=settings)
        self.assertEqual(self.client.query(f"SELECT count() FROM {self.database}.t").result_rows, [(2,)])

    def test_a_read_only_request_writes_nothing(self):
        status, text = self.post("CREATE TABLE t (id UInt64) ENGINE = Memory", readonly="1")
        self.assertNotEqual(status, 200)
        self.assertIn("Code: 164", text)


if __name__ == "__main__":
    unittest.main()
