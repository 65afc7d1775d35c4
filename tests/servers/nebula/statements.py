"""A text of statements: parsed whole, checked whole, then run one after the other until one is refused."""

import define
import read
import update
import write
from lexer import Cursor
from refusal import STATEMENT_EMPTY, Refusal, semantic, syntax

STATEMENT_BYTES_MAX = 4 << 20
STATEMENTS_MAX = 512
SCHEMAS = {b"TAG": "tag", b"EDGE": "edge"}


def run(session, text: bytes, parameters: dict):
    """Columns and rows of the last statement, or None."""
    if len(text) > STATEMENT_BYTES_MAX:
        raise syntax(f"Out of memory: query is too large ({len(text)} > {STATEMENT_BYTES_MAX}).")
    statements = parse(text, parameters)
    if len(statements) > STATEMENTS_MAX:
        raise semantic("The maximum number of statements allowed has been exceeded")
    session.checking = session.space
    for statement in statements:
        statement.check(session)
    result = None
    for statement in statements:
        fault = session.faults.before() if is_write(statement) else None
        result = statement.run(session)
        if fault:
            raise fault
    return result


def is_write(statement) -> bool:
    return isinstance(statement, (write.Insert, write.DeleteVertex, write.DeleteTag, write.DeleteEdge, update.UpdateVertex))


def parse(text: bytes, parameters: dict) -> list:
    cursor = Cursor(text)
    cursor.parameters = parameters
    found = []
    while cursor.peek():
        if cursor.take(b";"):
            continue
        found.append(one(cursor, parameters))
        if cursor.peek() and not cursor.take(b";"):
            raise cursor.wrong()
    if not found:
        raise Refusal(STATEMENT_EMPTY, "StatementEmpty: ")
    return found


def one(cursor: Cursor, parameters: dict):
    word = cursor.next().upper()
    match word:
        case b"INSERT":
            return (write.InsertVertex if cursor.is_word(b"VERTEX") else write.InsertEdge)(cursor, parameters)
        case b"DELETE":
            kinds = {b"VERTEX": write.DeleteVertex, b"TAG": write.DeleteTag, b"EDGE": write.DeleteEdge}
            return kind_of(cursor, kinds)(cursor)
        case b"UPDATE" | b"UPSERT":
            return update.update(cursor, parameters, word == b"UPSERT")
        case b"FETCH":
            return read.fetch(cursor, parameters)
        case b"GO":
            return read.Go(cursor, parameters)
        case b"MATCH":
            return read.Match(cursor, parameters)
        case b"YIELD" | b"RETURN":
            return read.YieldConstants(cursor, parameters)
        case b"USE":
            return define.Use(cursor)
        case b"SHOW":
            return define.Show(cursor)
        case b"DESC" | b"DESCRIBE":
            return define.Describe(cursor)
        case b"CLEAR":
            cursor.need(b"SPACE")
            return define.DropSpace(cursor, clear=True)
        case b"CREATE" if cursor.take(b"SPACE"):
            return define.CreateSpace(cursor)
        case b"DROP" if cursor.take(b"SPACE"):
            return define.DropSpace(cursor, clear=False)
        case b"CREATE":
            return define.CreateSchema(cursor, kind_of(cursor, SCHEMAS))
        case b"ALTER":
            return define.AlterSchema(cursor, kind_of(cursor, SCHEMAS))
        case b"DROP":
            return define.DropSchema(cursor, kind_of(cursor, SCHEMAS))
    cursor.at -= 1
    raise cursor.wrong()


def kind_of(cursor: Cursor, kinds: dict):
    word = cursor.peek().upper()
    if word not in kinds:
        raise cursor.wrong()
    cursor.at += 1
    return kinds[word]
