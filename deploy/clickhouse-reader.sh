#!/bin/bash
# Run by the ClickHouse image at its first start: makes the user as whom Grafana reads (dashboards/reader.sql).
set -eu

sed "s/<password>/$CLICKHOUSE_READER_PASSWORD/" /reader.sql \
    | clickhouse-client --user "$CLICKHOUSE_USER" --password "$CLICKHOUSE_PASSWORD" --multiquery
