"""The rows of a statement in a space, one a line, by the official client: ask.py HOST:PORT SPACE STATEMENT."""

import logging
import sys

from nebula3.Config import Config
from nebula3.gclient.net import ConnectionPool

logging.disable()
host, _, port = sys.argv[1].rpartition(":")
pool = ConnectionPool()
assert pool.init([(host, int(port))], Config())
session = pool.get_session("root", "nebula")
for statement in (f"USE `{sys.argv[2]}`", sys.argv[3]):
    answer = session.execute(statement)
    assert answer.is_succeeded(), f"{statement}: {answer.error_msg()}"
for row in range(answer.row_size()):
    print(answer.row_values(row))
session.release()
