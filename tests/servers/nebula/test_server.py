"""The stand-in against the official client: test_server.py HOST:PORT."""

import logging
import os
import sys
import time
import unittest
import uuid

from nebula3.common.ttypes import Date, DateTime, NullType, Value
from nebula3.Config import Config
from nebula3.Exception import AuthFailedException
from nebula3.gclient.net import ConnectionPool

ADDRESS = sys.argv.pop(1)
LONG_AGO_S = 30


def connect():
    host, _, port = ADDRESS.rpartition(":")
    pool = ConnectionPool()
    pool.init([(host, int(port))], Config())
    return pool


class Case(unittest.TestCase):
    def setUp(self):
        logging.disable()
        self.pool = connect()
        self.session = self.pool.get_session("root", "nebula")
        self.space = f"stand_in_{uuid.uuid4().hex[:8]}"
        self.addCleanup(self.pool.close)
        self.addCleanup(self.session.release)
        self.addCleanup(self.session.execute, f"DROP SPACE IF EXISTS {self.space}")

    def run_ok(self, statement: str, parameters=None):
        """Rows of the answer, as Python values."""
        answer = self.session.execute_parameter(statement, wire(parameters))
        self.assertTrue(answer.is_succeeded(), f"{statement[:200]}: {answer.error_code()} {answer.error_msg()}")
        return [[plain(value) for value in row.values] for row in answer.rows()] if answer.row_size() else []

    def refuse(self, statement: str, code: int, fragment: str, parameters=None) -> None:
        answer = self.session.execute_parameter(statement, wire(parameters))
        self.assertEqual((answer.error_code(), fragment in answer.error_msg()), (code, True), answer.error_msg())

    def until_ok(self, statement: str) -> None:
        """As a client must after defining something: tries until the news has come round."""
        end = time.monotonic() + LONG_AGO_S
        while not (answer := self.session.execute(statement)).is_succeeded():
            self.assertIn(answer.error_code(), (-1005, -1009), answer.error_msg())
            self.assertLess(time.monotonic(), end, answer.error_msg())
            time.sleep(0.02)

    def fill(self) -> None:
        self.run_ok(f"CREATE SPACE IF NOT EXISTS `{self.space}` (partition_num = 4, replica_factor = 1, vid_type = FIXED_STRING(16))")
        self.until_ok(f"USE `{self.space}`")
        self.run_ok(
            "CREATE TAG IF NOT EXISTS `customer` (`name` string NULL, `age` int64 NULL, `version` int64 NOT NULL, `born` date NULL,"
            " `at` datetime NULL, `rate` double NULL, `vip` bool NULL);"
            "CREATE EDGE IF NOT EXISTS `served_by` (`version` int64 NOT NULL, `owner` string)"
        )
        self.until_ok('INSERT VERTEX `customer`(`version`) VALUES "warm":(1)')
        self.until_ok('INSERT EDGE `served_by`(`version`, `owner`) VALUES "warm"->"warm":(1, "")')
        self.run_ok('DELETE EDGE `served_by` "warm"->"warm"@0; DELETE VERTEX "warm"')


def wire(parameters) -> dict:
    kinds = {bool: "bVal", int: "iVal", float: "fVal", bytes: "sVal"}

    def one(value):
        if value is None:
            return Value(nVal=NullType.__NULL__)
        value = value.encode() if isinstance(value, str) else value
        return value if isinstance(value, Value) else Value(**{kinds[type(value)]: value})

    return {name.encode(): one(value) for name, value in (parameters or {}).items()}


def plain(value: Value):
    kind = value.getType()
    if kind == Value.NVAL:
        return None
    if kind == Value.SVAL:
        return value.value.decode()
    if kind == Value.MVAL:
        return {key.decode(): plain(one) for key, one in value.value.kvs.items()}
    return value.value


class LifeCycle(Case):
    def test_definitions_are_described_and_come_round_late(self):
        self.run_ok(f"CREATE SPACE {self.space} (vid_type = FIXED_STRING(256))")
        self.refuse(f"USE {self.space}", -1005, f"SpaceNotFound: SpaceName `{self.space}`")
        self.until_ok(f"USE {self.space}")
        self.assertIn([self.space], self.run_ok("SHOW SPACES"))
        self.assertEqual(self.run_ok(f"DESCRIBE SPACE {self.space}")[0][1:7], [self.space, 10, 1, "utf8", "utf8_bin", "FIXED_STRING(256)"])
        self.run_ok("CREATE TAG t (a string, b fixed_string(4) NOT NULL DEFAULT \"x\")")
        self.refuse('INSERT VERTEX t(a) VALUES "1":("a")', -1009, "No schema found for `t'")
        self.until_ok('INSERT VERTEX t(a) VALUES "1":("a")')
        self.refuse("CREATE TAG t (a string)", -1005, "Existed!")
        self.refuse("CREATE EDGE t (a string)", -1005, "Schema with same name exists")
        self.run_ok("ALTER TAG t ADD (c int64 DEFAULT 7)")
        self.refuse('INSERT VERTEX t(a, c) VALUES "2":("a", 1)', -1009, "Unknown column `c' in schema")
        self.until_ok('INSERT VERTEX t(a, b, c) VALUES "2":("b", "too long", 1)')
        described = self.run_ok("DESC TAG t")
        self.assertEqual([row[:3] for row in described], [["a", "string", "YES"], ["b", "fixed_string(4)", "NO"], ["c", "int64", "YES"]])
        found = self.run_ok('FETCH PROP ON t "1", "2", "3" YIELD id(vertex) AS vid, t.a AS a, t.b AS b, t.c AS c')
        self.assertEqual(found, [["1", "a", "x", 7], ["2", "b", "too ", 1]])

    def test_an_insert_replaces_the_whole_row(self):
        self.fill()
        self.run_ok('INSERT VERTEX customer(name, age, version) VALUES "c1":("old", 1, 1), "c1":("甲", 2, 2)')
        self.run_ok('INSERT VERTEX customer(name, version) VALUES "c1":("乙", 3)')
        self.run_ok('INSERT VERTEX IF NOT EXISTS customer(name, version) VALUES "c1":("never", 9)')
        found = self.run_ok('FETCH PROP ON customer "c1" YIELD properties(vertex) AS p')
        self.assertEqual(
            found, [[{"name": "乙", "age": None, "version": 3, "born": None, "at": None, "rate": None, "vip": None}]]
        )

    def test_an_update_happens_only_while_its_condition_holds(self):
        self.fill()
        self.run_ok('INSERT VERTEX customer(name, version) VALUES "u1":("甲", 1)')
        self.run_ok('UPDATE VERTEX ON customer "u1" SET name = "乙", version = 2 WHEN version == 1')
        self.run_ok('UPDATE VERTEX ON `customer` "u1" SET `name` = "never" WHEN `version` == 1')
        self.assertEqual(self.run_ok('FETCH PROP ON customer "u1" YIELD customer.name AS n, customer.version AS v'), [["乙", 2]])
        self.run_ok('UPSERT VERTEX ON customer "u2" SET name = "丙", version = 3 WHEN version > 5')
        self.assertEqual(self.run_ok('FETCH PROP ON customer "u2" YIELD customer.name AS n'), [["丙"]])

    def test_edges_are_known_by_source_type_rank_and_target(self):
        self.fill()
        self.run_ok(
            'INSERT EDGE served_by(version, owner) VALUES "a"->"b":(1, "x"), "a"->"b"@7:(2, "y"), "a"->"c"@-9223372036854775808:(3, "z")'
        )
        ask = 'GO FROM "a" OVER * YIELD src(edge) AS s, type(edge) AS t, rank(edge) AS r, dst(edge) AS d, properties(edge).owner AS o'
        lowest = -(1 << 63)
        self.assertCountEqual(
            self.run_ok(ask),
            [["a", "served_by", 0, "b", "x"], ["a", "served_by", 7, "b", "y"], ["a", "served_by", lowest, "c", "z"]],
        )
        self.assertEqual(self.run_ok('GO FROM "b" OVER served_by REVERSELY YIELD count(*)'), [[2]])
        self.assertEqual(self.run_ok('FETCH PROP ON served_by "a"->"b"@7 YIELD served_by.version AS v, served_by._rank AS r'), [[2, 7]])
        self.run_ok('DELETE EDGE served_by "a"->"b"@7, "a"->"nowhere"@1')
        self.run_ok('DELETE VERTEX "a"')
        self.assertEqual(len(self.run_ok(ask)), 2, "a vertex leaves its edges behind")
        self.run_ok('DELETE VERTEX "a" WITH EDGE')
        self.assertEqual(self.run_ok(ask), [])

    def test_parameters_of_every_type_and_hostile_text(self):
        self.fill()
        hostile = "a'\"`\\\n\r\t$p0;#//😀/* \u0001"
        parameters = {"n": hostile, "a": 2**62, "d": Value(dVal=Date(1950, 2, 3)), "r": 0.1, "v": True, "x": None}
        parameters["t"] = Value(dtVal=DateTime(2025, 1, 2, 3, 4, 5, 678901))
        columns = "name, age, version, born, at, rate, vip"
        self.run_ok(f'INSERT VERTEX customer({columns}) VALUES "p":($n, $a, 1, $d, $t, $r, $v), "q":($x, 1, 1, $x, $x, 1, $x)', parameters)
        literal = hostile.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
        self.run_ok(
            f'INSERT VERTEX customer({columns}) VALUES "l":("{literal}", {2**62}, 1, date("1950-02-03"),'
            ' datetime("2025-01-02T03:04:05.678901"), 0.1, true)'
        )
        ask = 'FETCH PROP ON customer "{}" YIELD customer.name, customer.age, customer.born, customer.at, customer.rate, customer.vip'
        self.assertEqual(self.run_ok(ask.format("p")), self.run_ok(ask.format("l")))
        self.assertEqual(self.run_ok(ask.format("p"))[0][0], hostile)
        self.assertEqual(self.run_ok(ask.format("q"))[0], [None, 1, None, None, 1.0, None])

    def test_all_of_a_space_can_be_listed(self):
        self.fill()
        rows = ", ".join(f'"c{number}":("{number}", {number}, 1)' for number in range(300))
        self.run_ok(f"INSERT VERTEX customer(name, age, version) VALUES {rows}")
        self.refuse("MATCH (v:customer) RETURN id(v)", -1005, "limit number")
        found = self.run_ok("MATCH (v:customer) WHERE v.customer.age >= 200 RETURN id(v) AS vid, v.customer.age AS age LIMIT 1000")
        self.assertEqual(len(found), 100)
        self.assertEqual(self.run_ok("MATCH (v) RETURN v LIMIT 1000 | YIELD count(*)"), [[300]])
        self.run_ok(f"CLEAR SPACE {self.space}")
        self.assertEqual(self.run_ok("MATCH (v) RETURN count(*) AS n LIMIT 1000"), [[0]])


class Refusals(Case):
    def test_wrong_password(self):
        with self.assertRaises(AuthFailedException):
            self.pool.get_session("root", "wrong")
        with self.assertRaises(AuthFailedException):
            self.pool.get_session("nobody", "nebula")

    def test_a_session_that_is_gone(self):
        number = self.session._session_id
        self.session._connection.signout(number)
        answer = self.session._connection.execute(number, "SHOW SPACES")
        self.assertEqual(answer.error_code, -1002)

    def test_without_a_space(self):
        self.refuse("SHOW TAGS", -1009, "Space was not chosen.")
        self.refuse("USE no_such_space", -1005, "SpaceNotFound: SpaceName `no_such_space`")

    def test_names_and_shapes(self):
        self.fill()
        self.refuse('INSERT VERTEX nothing(a) VALUES "1":(1)', -1009, "No schema found for `nothing'")
        self.refuse('INSERT EDGE nothing(a) VALUES "1"->"2":(1)', -1005, "EdgeNotFound: EdgeName `nothing`")
        self.refuse('INSERT VERTEX customer(nothing) VALUES "1":(1)', -1009, "Unknown column `nothing' in schema")
        self.refuse('INSERT VERTEX customer(name, version) VALUES "1":("x")', -1009, "Column count doesn't match value count.")
        self.refuse("CREATE TAG order (a string)", -1004, "syntax error near")
        self.refuse("CREATE TAG t (Date string)", -1004, "syntax error near")
        self.run_ok("CREATE TAG `order` (`date` string)")
        self.refuse("FETCH PROP ON nothing \"1\" YIELD id(vertex)", -1009, "not found in space")
        self.refuse('FETCH PROP ON customer "1"', -1009, "Missing yield clause.")
        self.refuse("", -1006, "StatementEmpty")

    def test_texts_that_break_out(self):
        self.fill()
        for text in ('a\nb', 'a" , 1)', "a\\"):
            self.refuse(f'INSERT VERTEX customer(name, version) VALUES "1":("{text}", 1)', -1004, "SyntaxError")
        self.refuse('INSERT VERTEX customer(name, version) VALUES "1":("a", 1) nonsense', -1004, "syntax error near `nonsense'")
        self.refuse('INSERT VERTEX customer(version) VALUES $v:(1)', -1004, "Parameter is not supported in vid near `$v'", {"v": "1"})
        self.refuse('INSERT VERTEX customer(version) VALUES "1":($no)', -1004, "Direct output of variable is prohibited near `$no'")

    def test_types_and_limits(self):
        self.fill()
        mismatch = "Storage Error: The data type does not meet the requirements. Use the correct type of data."
        self.refuse('INSERT VERTEX customer(age, version) VALUES "1":("2", 1)', -1005, mismatch)
        self.refuse('INSERT VERTEX customer(born, version) VALUES "1":("1950-02-03", 1)', -1005, mismatch)
        self.refuse('INSERT VERTEX customer(name, version) VALUES "1":(5, 1)', -1005, mismatch)
        self.refuse('INSERT VERTEX customer(born, version) VALUES "1":(date("1950-02-30"), 1)', -1005, 'Wrong value type: date("1950-02-30")')
        self.refuse('INSERT VERTEX customer(age, version) VALUES "1":(9223372036854775808, 1)', -1004, "Out of range")
        self.refuse('INSERT VERTEX customer(version) VALUES "1":(NULL)', -1005, "Storage Error: The not null field cannot be null.")
        self.refuse('INSERT VERTEX customer(name) VALUES "1":("x")', -1005, "The not null field doesn't have a default value.")
        self.refuse('INSERT EDGE served_by(version) VALUES "1"->"2":(NULL)', -1009, "The non-nullable property `version' could not be NULL.")
        too_long = "Storage Error: The VID must be a 64-bit integer or a string fitting space vertex id length limit."
        self.run_ok('INSERT VERTEX customer(version) VALUES "甲甲甲甲甲x":(1)')
        self.refuse('INSERT VERTEX customer(version) VALUES "甲甲甲甲甲xy":(1)', -1005, too_long)
        self.refuse('INSERT EDGE served_by(version) VALUES "1"->"甲甲甲甲甲xy":(1)', -1005, too_long)
        self.refuse("INSERT VERTEX customer(version) VALUES 5:(1)", -1005, "Wrong vertex id type: 5")

    def test_a_refused_row_takes_only_its_own_partition_with_it(self):
        self.fill()
        rows = [f'"c{number}":({number}, 1)' for number in range(100)] + ['"bad":("no number", 1)']
        self.refuse(f"INSERT VERTEX customer(age, version) VALUES {', '.join(rows)}", -1005, "data type")
        [[there]] = self.run_ok("MATCH (v:customer) RETURN count(*) LIMIT 1000")
        self.assertTrue(0 < there < 100, there)

    def test_size(self):
        self.fill()
        head, tail = 'INSERT VERTEX customer(name, version) VALUES "1":("', '", 1)'
        limit = 4 * 1024 * 1024
        self.run_ok(head + "x" * (limit - len(head) - len(tail)) + tail)
        self.refuse(head + "x" * (limit - len(head) - len(tail) + 1) + tail, -1004, "query is too large")
        self.refuse("; ".join(["SHOW SPACES"] * 513), -1009, "maximum number of statements")


class Speed(Case):
    def test_batches_go_in_fast_enough_for_the_load_tests(self):
        self.fill()
        start = time.monotonic()
        for batch in range(40):
            rows = ", ".join(f'"c{batch}_{number}":("name {number}", {number}, {batch + 1}, {number}.5, true)' for number in range(256))
            self.run_ok(f"INSERT VERTEX `customer`(`name`, `age`, `version`, `rate`, `vip`) VALUES {rows}")
        rate = 40 * 256 / (time.monotonic() - start)
        print(f"{rate:.0f} vertices/s", file=sys.stderr)
        # Far below what it does, so that a busy machine does not matter.
        self.assertGreater(rate, 500)


if __name__ == "__main__":
    unittest.main(verbosity=int(os.environ.get("VERBOSE", 1)))
