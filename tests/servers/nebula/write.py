"""INSERT and DELETE.

As in a real cluster a statement is no transaction: each partition applies its part or none of it, and one refused part fails the
statement while the other parts stay written. INSERT replaces the whole row of a tag or an edge; the last of equal keys wins.
"""

import zlib

import expressions
from define import Statement
from lexer import Cursor
from refusal import FIELD_UNSET, VID_TOO_LONG, Refusal, execution, semantic, storage, syntax
from store import Schema, Space, pack
from values import as_stored


class Insert(Statement):
    """Common to both kinds: how given values become a row in the schema's order."""

    def row_maker(self, schema: Schema, names: list[str]):
        """A function from the given values to the stored row."""
        known = schema.known()
        places = [(one, names.index(one.name) if one.name in names else None) for one in known]
        if all(place is not None for _, place in places):
            return lambda given: pack([as_stored(given[place], one) for one, place in places])

        def make(given):
            cells = []
            for one, place in places:
                if place is not None:
                    cells.append(as_stored(given[place], one))
                elif one.has_default:
                    cells.append(one.default)
                elif one.nullable:
                    cells.append(None)
                else:
                    raise storage(FIELD_UNSET)
            return pack(cells)

        return make

    def check_names(self, schema: Schema, names: list[str]) -> None:
        known = schema.positions()
        for name in names:
            if name not in known:
                raise semantic(f"Unknown column `{name}' in schema")


class InsertVertex(Insert):
    def __init__(self, cursor: Cursor, parameters: dict):
        cursor.need(b"VERTEX")
        self.if_not_exists = cursor.take(b"IF", b"NOT", b"EXISTS")
        self.tags = cursor.listed(lambda: (cursor.name(), names_in_brackets(cursor)))
        values_word(cursor)
        self.rows = cursor.listed(lambda: self.one_row(cursor, parameters))

    def one_row(self, cursor, parameters):
        vid = one_vid(cursor)
        cursor.need(b":")
        return vid, given_values(cursor, parameters)

    def check(self, session):
        space = session.store.space(session.checking)
        wanted = 0
        for name, names in self.tags:
            schema = space.tags.get(name)
            if schema is None or not schema.visible():
                raise semantic(f"No schema found for `{name}'")
            if names is not None:
                self.check_names(schema, names)
            wanted += len(schema.known()) if names is None else len(names)
        for vid, given in self.rows:
            if len(given) != wanted:
                raise semantic("Column count doesn't match value count.")
            check_vid_type(vid, space)

    def run(self, session):
        space = session.store.space(session.space)
        makers = []
        start = 0
        for name, names in self.tags:
            schema = space.tags[name]
            if names is None:
                names = [one.name for one in schema.known()]
            makers.append((schema.id, self.row_maker(schema, names), start, start + len(names)))
            start += len(names)

        def make(row):
            vid, given = row
            check_vid_length(vid, space)
            return [(space.id, vid, tag, maker(given[first:end])) for tag, maker, first, end in makers]

        in_parts(session, space, self.rows, make, lambda rows: session.store.put_vertices(rows, self.if_not_exists))


class InsertEdge(Insert):
    def __init__(self, cursor: Cursor, parameters: dict):
        cursor.need(b"EDGE")
        self.if_not_exists = cursor.take(b"IF", b"NOT", b"EXISTS")
        self.name = cursor.name()
        self.names = names_in_brackets(cursor)
        values_word(cursor)
        self.rows = cursor.listed(lambda: self.one_row(cursor, parameters))

    def one_row(self, cursor, parameters):
        key = one_edge_key(cursor)
        cursor.need(b":")
        return *key, given_values(cursor, parameters)

    def check(self, session):
        space = session.store.space(session.checking)
        schema = edge_type(space, self.name)
        known = schema.known()
        names = self.names
        if names is None:
            names = [one.name for one in known]
        else:
            self.check_names(schema, names)
        for source, target, _, given in self.rows:
            if len(given) != len(names):
                raise semantic("Column count doesn't match value count.")
            check_vid_type(source, space)
            check_vid_type(target, space)
            for one in known:
                if one.name in names:
                    if given[names.index(one.name)] is None and not one.nullable:
                        raise semantic(f"The non-nullable property `{one.name}' could not be NULL.")
                elif not one.nullable and not one.has_default:
                    raise semantic(f"The property `{one.name}' is not nullable and has no default value.")

    def run(self, session):
        space = session.store.space(session.space)
        schema = space.edges[self.name]
        names = [one.name for one in schema.known()] if self.names is None else self.names
        maker = self.row_maker(schema, names)

        def make(row):
            source, target, rank, given = row
            check_vid_length(source, space)
            check_vid_length(target, space)
            return [(space.id, source, schema.id, rank, target, maker(given))]

        in_parts(session, space, self.rows, make, lambda rows: session.store.put_edges(rows, self.if_not_exists))


class DeleteVertex(Statement):
    def __init__(self, cursor: Cursor):
        self.vids = cursor.listed(lambda: one_vid(cursor))
        self.with_edge = cursor.take(b"WITH", b"EDGE")

    def check(self, session):
        space = session.store.space(session.checking)
        for vid in self.vids:
            check_vid_type(vid, space)

    def run(self, session):
        space = session.store.space(session.space)
        database = session.store.database
        with session.store.transaction():
            for vid in self.vids:
                check_vid_length(vid, space)
                database.execute("DELETE FROM vertex WHERE space = ? AND vid = ?", (space.id, vid))
                if self.with_edge:
                    database.execute("DELETE FROM edge WHERE space = ? AND src = ?", (space.id, vid))
                    database.execute("DELETE FROM edge WHERE space = ? AND dst = ?", (space.id, vid))


class DeleteTag(Statement):
    def __init__(self, cursor: Cursor):
        self.names = None if cursor.take(b"*") else cursor.listed(cursor.name)
        cursor.need(b"FROM")
        self.vids = cursor.listed(lambda: one_vid(cursor))

    def check(self, session):
        space = session.store.space(session.checking)
        for name in self.names or ():
            if name not in space.tags:
                raise semantic(f"`{name}' not found in space [`{space.name}'].")

    def run(self, session):
        space = session.store.space(session.space)
        tags = [space.tags[name].id for name in (self.names if self.names is not None else space.tags)]
        with session.store.transaction():
            keys = [(space.id, vid, tag) for vid in self.vids for tag in tags]
            session.store.database.executemany("DELETE FROM vertex WHERE space = ? AND vid = ? AND tag = ?", keys)


class DeleteEdge(Statement):
    def __init__(self, cursor: Cursor):
        self.name = cursor.name()
        self.keys = cursor.listed(lambda: one_edge_key(cursor))

    def check(self, session):
        space = session.store.space(session.checking)
        edge_type(space, self.name)
        for source, target, _ in self.keys:
            check_vid_type(source, space)
            check_vid_type(target, space)

    def run(self, session):
        space = session.store.space(session.space)
        type_id = edge_type(space, self.name).id
        rows = [(space.id, source, type_id, rank, target) for source, target, rank in self.keys]
        query = "DELETE FROM edge WHERE space = ? AND src = ? AND type = ? AND rank = ? AND dst = ?"
        with session.store.transaction():
            session.store.database.executemany(query, rows)


def in_parts(session, space: Space, rows, make, put) -> None:
    """Partition by partition; a partition with a refused row writes nothing."""
    parts, refused = {}, {}
    for row in rows:
        part = partition(row[0], space)
        try:
            parts.setdefault(part, []).extend(make(row))
        except Refusal as refusal:
            refused.setdefault(part, refusal)
    with session.store.transaction():
        for part, made in parts.items():
            if part not in refused:
                put(made)
    if refused:
        raise refused[min(refused)]


def partition(vid, space: Space) -> int:
    if type(vid) is int:
        return vid % space.partitions + 1
    return zlib.crc32(vid) % space.partitions + 1


def edge_type(space: Space, name: str) -> Schema:
    schema = space.edges.get(name)
    if schema is None or not schema.visible():
        raise execution(f"EdgeNotFound: EdgeName `{name}`")
    return schema


def check_vid_type(vid, space: Space) -> None:
    if (type(vid) is int) != (space.vid_length is None):
        shown = vid if type(vid) is int else '"' + vid.decode("utf-8", "replace") + '"'
        raise execution(f"Wrong vertex id type: {shown}")


def check_vid_length(vid, space: Space) -> None:
    # Bytes, not characters; and a shorter one is padded with NULs, so that one at its end would be lost.
    if type(vid) is bytes and (len(vid) > space.vid_length or vid.endswith(b"\0")):
        raise storage(VID_TOO_LONG)


def one_vid(cursor: Cursor):
    word = cursor.peek()
    if word[:1] == b"$":
        kind = "Parameter" if word[1:] in cursor.parameters else "Variable"
        raise syntax(f"{kind} is not supported in vid near `{word.decode()}'")
    if word[:1] in b"\"'":
        return cursor.string()
    return cursor.integer()


def one_edge_key(cursor: Cursor):
    """source, target, rank"""
    source = one_vid(cursor)
    cursor.need(b"->")
    target = one_vid(cursor)
    return source, target, cursor.integer() if cursor.take(b"@") else 0


def values_word(cursor: Cursor) -> None:
    if not cursor.take(b"VALUES") and not cursor.take(b"VALUE"):
        raise cursor.wrong()


def names_in_brackets(cursor: Cursor) -> list[str] | None:
    """None where there are no brackets: all columns are meant."""
    if not cursor.take(b"("):
        return None
    if cursor.take(b")"):
        return []
    found = cursor.listed(cursor.name)
    cursor.need(b")")
    return found


def given_values(cursor: Cursor, parameters: dict) -> list:
    cursor.need(b"(")
    if cursor.take(b")"):
        return []
    constant = expressions.constant
    found = [constant(cursor, parameters)]
    words = cursor.words
    while words[cursor.at] == b",":
        cursor.at += 1
        found.append(constant(cursor, parameters))
    cursor.need(b")")
    return found
