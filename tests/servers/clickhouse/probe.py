"""Asks the server for a row, by the official client: probe.py URL."""

import sys

import clickhouse_connect

client = clickhouse_connect.get_client(dsn=sys.argv[1])
assert client.query("SELECT 1").result_rows == [(1,)]
