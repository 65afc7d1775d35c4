"""What was acknowledged before a kill must be there after it: survives.py write|read URL."""

import subprocess
import sys


def psql(query: str) -> str:
    command = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", sys.argv[2], "--command", query]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


if sys.argv[1] == "write":
    psql("CREATE TABLE survives (id bigint)")
    psql("INSERT INTO survives SELECT generate_series(1, 50)")
else:
    assert psql("SELECT count(*) FROM survives") == "50"
