"""What was acknowledged before a kill must be there after it: survives.py write|read HOST:PORT."""

import logging
import sys
import time

from nebula3.Config import Config
from nebula3.gclient.net import ConnectionPool

logging.disable()
host, _, port = sys.argv[2].rpartition(":")
pool = ConnectionPool()
assert pool.init([(host, int(port))], Config())
session = pool.get_session("root", "nebula")


def run(statement: str, patience_s: float = 0):
    end = time.monotonic() + patience_s
    while not (answer := session.execute(statement)).is_succeeded():
        assert time.monotonic() < end, f"{statement}: {answer.error_msg()}"
        time.sleep(0.02)
    return answer


if sys.argv[1] == "write":
    run("CREATE SPACE survives (vid_type = FIXED_STRING(16))")
    run("USE survives", 30)
    run("CREATE TAG t (n int64); CREATE EDGE e (n int64)")
    run('INSERT VERTEX t(n) VALUES "0":(0)', 30)
    for number in range(50):
        run(f'INSERT VERTEX t(n) VALUES "{number}":({number}); INSERT EDGE e(n) VALUES "{number}"->"x"@{number}:({number})', 30)
else:
    run("USE survives")
    assert run("MATCH (v:t) RETURN count(*) LIMIT 100").row_values(0)[0].as_int() == 50
    assert run('GO FROM "x" OVER e REVERSELY YIELD edge AS e').row_size() == 50
session.release()
