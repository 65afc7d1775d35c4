"""Statements about spaces, tags, edge types and the cluster."""

import time

import expressions
import values
from lexer import Cursor
from refusal import execution, semantic, syntax
from store import Field, Schema, Space

TYPES = {
    b"BOOL": "bool", b"INT8": "int8", b"INT16": "int16", b"INT32": "int32", b"INT64": "int64", b"INT": "int64", b"FLOAT": "float",
    b"DOUBLE": "double", b"STRING": "string", b"TIMESTAMP": "timestamp", b"DATE": "date", b"TIME": "time", b"DATETIME": "datetime",
}  # fmt: skip


class Statement:
    """`check` refuses without running; `run` gives columns and rows, or None. `session` has `space` and `store`."""

    def check(self, session) -> None:
        pass

    def run(self, session):
        raise NotImplementedError


class CreateSpace(Statement):
    def __init__(self, cursor: Cursor):
        self.if_not_exists = cursor.take(b"IF", b"NOT", b"EXISTS")
        self.name = cursor.name()
        self.options = {b"PARTITION_NUM": 10, b"REPLICA_FACTOR": 1}
        cursor.need(b"(")
        while not cursor.take(b")"):
            option = cursor.next().upper()
            cursor.need(b"=")
            if option == b"VID_TYPE":
                self.options[option] = self.vid_type(cursor)
            elif option in (b"PARTITION_NUM", b"REPLICA_FACTOR"):
                self.options[option] = cursor.integer()
            elif option in (b"CHARSET", b"COLLATE"):
                cursor.name()
            else:
                raise syntax(f"syntax error near `{option.decode('utf-8', 'replace')}'")
            if not cursor.take(b",") and not cursor.is_word(b")"):
                raise cursor.wrong()
        self.comment = comment(cursor)

    def vid_type(self, cursor: Cursor) -> int | None:
        if cursor.take(b"INT64") or cursor.take(b"INT"):
            return None
        cursor.need(b"FIXED_STRING")
        cursor.need(b"(")
        length = cursor.integer()
        cursor.need(b")")
        return length

    def check(self, session):
        if b"VID_TYPE" not in self.options:
            raise semantic("space vid_type must be specified explicitly")

    def run(self, session):
        store = session.store
        if self.name in store.spaces:
            if self.if_not_exists:
                return
            raise execution("Existed!")
        if self.options[b"REPLICA_FACTOR"] != 1:
            raise execution("Host not enough!")
        options = self.options
        store.spaces[self.name] = Space(
            store.new_id(), self.name, options[b"PARTITION_NUM"], options[b"REPLICA_FACTOR"], options[b"VID_TYPE"], self.comment, time.time()
        )
        store.save_catalog()


class DropSpace(Statement):
    def __init__(self, cursor: Cursor, clear: bool):
        self.if_exists = cursor.take(b"IF", b"EXISTS")
        self.name = cursor.name()
        self.clear = clear

    def run(self, session):
        store = session.store
        space = store.spaces.get(self.name)
        if space is None:
            if self.if_exists:
                return
            raise execution("SpaceNotFound: Space not existed!")
        with store.transaction():
            store.drop_rows(space.id)
            if not self.clear:
                del store.spaces[self.name]
            store.save_catalog()
        if not self.clear and session.space == self.name:
            session.space = None


class Use(Statement):
    def __init__(self, cursor: Cursor):
        self.name = cursor.name()

    def check(self, session):
        session.store.space(self.name)
        session.checking = self.name

    def run(self, session):
        session.store.space(self.name)
        session.space = self.name


class CreateSchema(Statement):
    def __init__(self, cursor: Cursor, kind: str):
        self.kind = kind
        self.if_not_exists = cursor.take(b"IF", b"NOT", b"EXISTS")
        self.name = cursor.name()
        self.fields = fields(cursor)
        comment(cursor)

    def check(self, session):
        session.store.space(session.checking)
        names = [one.name for one in self.fields]
        for name in names:
            if names.count(name) > 1:
                raise semantic(f"Duplicate column name `{name}'")

    def run(self, session):
        space = session.store.space(session.space)
        mine, others = (space.tags, space.edges) if self.kind == "tag" else (space.edges, space.tags)
        if self.name in others:
            raise execution("Schema with same name exists")
        if self.name in mine:
            if self.if_not_exists:
                return
            raise execution("Existed!")
        now = time.time()
        mine[self.name] = Schema(session.store.new_id(), self.name, self.fields, now, [now] * len(self.fields))
        session.store.save_catalog()


class AlterSchema(Statement):
    """Only ADD: what a sink that changes nothing but additively may say."""

    def __init__(self, cursor: Cursor, kind: str):
        self.kind = kind
        self.name = cursor.name()
        self.fields = []
        while True:
            cursor.need(b"ADD")
            self.fields += fields(cursor)
            if not cursor.take(b","):
                break

    def run(self, session):
        space = session.store.space(session.space)
        schema = at_meta(space, self.kind, self.name)
        taken = {one.name for one in schema.fields}
        for one in self.fields:
            if one.name in taken:
                raise execution("Existed!")
        now = time.time()
        schema.fields += self.fields
        schema.added += [now] * len(self.fields)
        session.store.save_catalog()


class DropSchema(Statement):
    def __init__(self, cursor: Cursor, kind: str):
        self.kind = kind
        self.if_exists = cursor.take(b"IF", b"EXISTS")
        self.name = cursor.name()

    def run(self, session):
        space = session.store.space(session.space)
        names = space.tags if self.kind == "tag" else space.edges
        if self.name not in names and self.if_exists:
            return
        schema = at_meta(space, self.kind, self.name)
        table, column = ("vertex", "tag") if self.kind == "tag" else ("edge", "type")
        with session.store.transaction():
            session.store.database.execute(f"DELETE FROM {table} WHERE space = ? AND {column} = ?", (space.id, schema.id))
            del names[self.name]
            session.store.save_catalog()


class Describe(Statement):
    def __init__(self, cursor: Cursor):
        self.kind = next((kind for kind in ("space", "tag", "edge") if cursor.take(kind.upper().encode())), None)
        if self.kind is None:
            raise cursor.wrong()
        self.name = cursor.name()

    def run(self, session):
        if self.kind == "space":
            space = session.store.spaces.get(self.name)
            if space is None:
                raise execution("SpaceNotFound: Space not existed!")
            columns = ["ID", "Name", "Partition Number", "Replica Factor", "Charset", "Collate", "Vid Type", "Comment"]
            row = [space.id, space.name, space.partitions, space.replicas, "utf8", "utf8_bin", space.vid_type(), space.comment]
            return columns, [row]
        schema = at_meta(session.store.space(session.space), self.kind, self.name)
        rows = []
        for one in schema.fields:
            default = one.default if one.has_default else values.EMPTY
            said = values.EMPTY if one.comment is None else one.comment
            rows.append([one.name, one.type_text(), "YES" if one.nullable else "NO", default, said])
        return ["Field", "Type", "Null", "Default", "Comment"], rows


class Show(Statement):
    def __init__(self, cursor: Cursor):
        self.what = cursor.next().upper()
        if self.what not in (b"SPACES", b"TAGS", b"EDGES", b"HOSTS"):
            cursor.at -= 1
            raise cursor.wrong()
        self.role = cursor.next().upper() if self.what == b"HOSTS" and cursor.peek().upper() in (b"GRAPH", b"STORAGE", b"META") else None

    def run(self, session):
        if self.what == b"SPACES":
            return ["Name"], [[name] for name in sorted(session.store.spaces)]
        if self.what == b"HOSTS":
            return self.hosts(session)
        space = session.store.space(session.space)
        return ["Name"], [[name] for name in sorted(space.tags if self.what == b"TAGS" else space.edges)]

    def hosts(self, session):
        if self.role is None:
            columns = ["Host", "Port", "Status", "Leader count", "Leader distribution", "Partition distribution", "Version"]
            parts = ", ".join(f"{space.name}:{space.partitions}" for space in session.store.spaces.values()) or "No valid partition"
            count = sum(space.partitions for space in session.store.spaces.values())
            return columns, [["127.0.0.1", 9779, "ONLINE", count, parts, parts, session.version]]
        columns = ["Host", "Port", "Status", "Role", "Git Info Sha", "Version"]
        return columns, [["127.0.0.1", 9669, "ONLINE", self.role.decode(), "stand-in", session.version]]


def at_meta(space: Space, kind: str, name: str) -> Schema:
    schema = (space.tags if kind == "tag" else space.edges).get(name)
    if schema is None:
        raise execution("TagNotFound: Tag not existed!" if kind == "tag" else "EdgeNotFound: Edge not existed!")
    return schema


def fields(cursor: Cursor) -> list[Field]:
    cursor.need(b"(")
    if cursor.take(b")"):
        return []
    found = cursor.listed(lambda: one_field(cursor))
    cursor.need(b")")
    return found


def one_field(cursor: Cursor) -> Field:
    name = cursor.name()
    word = cursor.next().upper()
    if word == b"FIXED_STRING":
        cursor.need(b"(")
        one = Field(name, "fixed_string", cursor.integer())
        cursor.need(b")")
    elif word in TYPES:
        one = Field(name, TYPES[word])
    else:
        cursor.at -= 1
        raise cursor.wrong()
    while True:
        if cursor.take(b"NOT", b"NULL"):
            one.nullable = False
        elif cursor.take(b"NULL"):
            one.nullable = True
        elif cursor.take(b"DEFAULT"):
            one.has_default = True
            one.default = values.as_stored(expressions.constant(cursor, {}), one)
        elif cursor.is_word(b"COMMENT"):
            one.comment = comment(cursor)
        else:
            return one


def comment(cursor: Cursor) -> str:
    if not cursor.take(b"COMMENT"):
        return ""
    cursor.take(b"=")
    return cursor.string().decode("utf-8", "replace")
