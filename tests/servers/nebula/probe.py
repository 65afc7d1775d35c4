"""Logs in and asks for the hosts, by the official client: probe.py HOST:PORT."""

import logging
import sys

from nebula3.Config import Config
from nebula3.gclient.net import ConnectionPool

logging.disable()
host, _, port = sys.argv[1].rpartition(":")
pool = ConnectionPool()
assert pool.init([(host, int(port))], Config())
session = pool.get_session("root", "nebula")
answer = session.execute("SHOW HOSTS")
assert answer.is_succeeded(), answer.error_msg()
session.release()
