"""What is live in a space, by the official client: look.py HOST:PORT.

Takes lines `vertices SPACE`, `edges SPACE`, `drop SPACE` and answers each with JSON lines and an empty one, so that one process
serves many looks. A space or tag that is not there has nothing.
"""

import json
import logging
import sys

from nebula3.Config import Config
from nebula3.gclient.net import ConnectionPool

# The store's own book-keeping.
OWN = "tidemark_"
ALL = "LIMIT 100000000"


def connect(address: str):
    host, _, port = address.rpartition(":")
    pool = ConnectionPool()
    assert pool.init([(host, int(port))], Config())
    return pool


def rows(session, statement: str) -> list:
    answer = session.execute(statement)
    assert answer.is_succeeded(), f"{statement}: {answer.error_msg()}"
    return [answer.row_values(number) for number in range(answer.row_size())]


def plain(value):
    """As JSON has it: a day as `YYYY-MM-DD`."""
    if value.is_date():
        day = value.get_value().get_dVal()
        return f"{day.year:04}-{day.month:02}-{day.day:02}"
    if value.is_datetime():
        return str(value.as_datetime())
    return value.cast()


def given(properties: dict) -> dict:
    return {name: plain(value) for name, value in properties.items() if not value.is_null()}


def vertices(session):
    for tag in [row[0].as_string() for row in rows(session, "SHOW TAGS")]:
        if tag.startswith(OWN):
            continue
        for (vertex,) in rows(session, f"MATCH (v:`{tag}`) RETURN v {ALL}"):
            node = vertex.as_node()
            properties = given(node.properties(tag))
            if "deleted_at" not in properties:
                yield [node.get_id().as_string(), tag, properties]


def edges(session):
    for (found,) in rows(session, f"MATCH ()-[e]->() RETURN e {ALL}"):
        edge = found.as_relationship()
        ends = [edge.start_vertex_id().as_string(), edge.end_vertex_id().as_string()]
        yield [*ends, edge.edge_name(), edge.ranking()]


def answer(address: str, what: str, space: str) -> None:
    # A connection for each look: the server may have been killed since the last one.
    pool = connect(address)
    session = pool.get_session("root", "nebula")
    try:
        if what == "drop":
            rows(session, f"DROP SPACE IF EXISTS `{space}`")
        elif space in [row[0].as_string() for row in rows(session, "SHOW SPACES")]:
            rows(session, f"USE `{space}`")
            for found in (vertices if what == "vertices" else edges)(session):
                print(json.dumps(found))
    finally:
        session.release()
        pool.close()


if __name__ == "__main__":
    logging.disable()
    for line in sys.stdin:
        answer(sys.argv[1], *line.split())
        print(flush=True)
