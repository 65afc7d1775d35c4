"""What the stand-in does when a test tells it to fail: test_faults.py HOST:PORT FOLDER."""

import logging
import sys
import time
import unittest
from pathlib import Path

from nebula3.Config import Config
from nebula3.Exception import AuthFailedException
from nebula3.gclient.net import ConnectionPool

ADDRESS, FOLDER = sys.argv.pop(1), Path(sys.argv.pop(1))


class Told(unittest.TestCase):
    def setUp(self):
        logging.disable()
        host, _, port = ADDRESS.rpartition(":")
        self.pool = ConnectionPool()
        self.pool.init([(host, int(port))], Config())
        self.session = self.pool.get_session("root", "nebula")
        self.addCleanup(self.pool.close)
        self.addCleanup(self.session.release)

    def until_ok(self, statement: str) -> None:
        end = time.monotonic() + 30
        while not (answer := self.session.execute(statement)).is_succeeded():
            self.assertLess(time.monotonic(), end, answer.error_msg())
            time.sleep(0.02)

    def test_faults_meet_the_writing_statements_in_their_order(self):
        self.until_ok("CREATE SPACE IF NOT EXISTS faults (vid_type = INT64)")
        self.until_ok("USE faults")
        self.until_ok("CREATE TAG IF NOT EXISTS t (n int64)")
        self.until_ok("INSERT VERTEX t(n) VALUES 0:(0)")
        busy = "Storage Error: Not the leader of 1. Please retry later."
        lost = "RPC failure, probably timeout"
        (FOLDER / "faults").write_text(f"before -1005 {busy}\npass\nafter -1005 {lost}\n")
        answers = []
        for number in (1, 2, 3, 4):
            self.assertTrue(self.session.execute("SHOW TAGS").is_succeeded(), "reading statements are spared")
            answer = self.session.execute(f"INSERT VERTEX t(n) VALUES {number}:({number})")
            answers.append((answer.error_code(), answer.error_msg() or ""))
        self.assertEqual(answers, [(-1005, busy), (0, ""), (-1005, lost), (0, "")])
        found = self.session.execute("FETCH PROP ON t 1, 2, 3, 4 YIELD t.n AS n")
        self.assertEqual(sorted(found.row_values(row)[0].as_int() for row in range(found.row_size())), [2, 3, 4])
        self.assertFalse((FOLDER / "faults").exists())

    def test_a_client_that_leaks_sessions_is_found_out(self):
        connection = self.pool.get_connection()
        kept = []
        with self.assertRaisesRegex(AuthFailedException, "Too many sessions"):
            for _ in range(400):
                kept.append(connection.authenticate("root", "nebula").get_session_id())
        self.assertGreater(len(kept), 250)
        for number in kept:
            connection.signout(number)
        connection.signout(connection.authenticate("root", "nebula").get_session_id())
        connection.is_used = False


if __name__ == "__main__":
    unittest.main()
