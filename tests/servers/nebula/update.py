"""UPDATE VERTEX and UPSERT VERTEX of one tag, the row read, compared and written at one stroke.

Names in SET, WHEN and YIELD are the tag's properties. A WHEN that does not hold is no error; a row that is missing is one for
UPDATE, and is made by UPSERT whatever WHEN says.
"""

from define import Statement
from expressions import column, expression
from lexer import Cursor
from refusal import execution, semantic, storage
from store import pack, unpack
from values import as_stored
from write import check_vid_length, check_vid_type, one_vid


class UpdateVertex(Statement):
    def __init__(self, cursor: Cursor, parameters: dict, upsert: bool):
        cursor.need(b"VERTEX", b"ON")
        self.upsert = upsert
        self.tag = cursor.name()
        self.vid = one_vid(cursor)
        cursor.need(b"SET")
        self.sets = cursor.listed(lambda: self.one_set(cursor, parameters))
        self.when = expression(cursor, parameters) if cursor.take(b"WHEN") else None
        self.columns = cursor.listed(lambda: column(cursor, parameters)) if cursor.take(b"YIELD") else None

    def one_set(self, cursor, parameters):
        name = cursor.name()
        cursor.need(b"=")
        return name, expression(cursor, parameters)

    def check(self, session):
        space = session.store.space(session.checking)
        schema = space.tags.get(self.tag)
        if schema is None or not schema.visible():
            raise semantic(f"No schema found for `{self.tag}'")
        known = schema.positions()
        for name, _ in self.sets:
            if name not in known:
                raise semantic(f"Unknown column `{name}' in schema")
        check_vid_type(self.vid, space)

    def run(self, session):
        space = session.store.space(session.space)
        check_vid_length(self.vid, space)
        schema = space.tags[self.tag]
        known = schema.known()
        with session.store.transaction():
            row = next((row for tag, row in session.store.tags_of(space.id, self.vid) if tag == schema.id), None)
            if row is None and not self.upsert:
                raise storage("Vertex or edge not found.")
            cells = unpack(row, schema) if row is not None else {one.name: one.default for one in known}
            if row is None or self.when is None or self.when.evaluate(cells) is True:
                for name, value in self.sets:
                    cells[name] = value.evaluate(cells)
                packed = pack([as_stored(cells[one.name], one) for one in known])
                session.store.put_vertices([(space.id, self.vid, schema.id, packed)], False)
        if self.columns is not None:
            return [title for _, title in self.columns], [[one.evaluate(cells) for one, _ in self.columns]]


def update(cursor: Cursor, parameters: dict, upsert: bool) -> Statement:
    if not cursor.is_word(b"VERTEX"):
        raise execution("the stand-in updates vertices alone")
    return UpdateVertex(cursor, parameters, upsert)
