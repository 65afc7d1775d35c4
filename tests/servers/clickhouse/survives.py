"""What was acknowledged before a kill must be there after it: survives.py write|read URL."""

import sys

import clickhouse_connect

client = clickhouse_connect.get_client(dsn=sys.argv[2])
if sys.argv[1] == "write":
    client.command("CREATE DATABASE survives")
    client.command("CREATE TABLE survives.t (id UInt64) ENGINE = MergeTree ORDER BY id")
    for number in range(50):
        client.insert("survives.t", [[number]], column_names=["id"], settings={"async_insert": 0})
else:
    assert client.query("SELECT count(), sum(id) FROM survives.t").result_rows == [(50, 1225)]
