"""FETCH, GO, MATCH in its two plainest forms, YIELD of constants, and what may stand behind a pipe (LIMIT, count)."""

from define import Statement
from expressions import COUNT, column, expression
from lexer import Cursor
from refusal import semantic, storage
from store import Space, unpack
from values import EMPTY, Edge, Vertex
from write import check_vid_length, check_vid_type, edge_type, one_edge_key, one_vid


class Reading(Statement):
    """Finds surroundings, keeps those that WHERE lets through, and shows columns of them."""

    where = None
    distinct = False
    limit = None
    skip = 0

    def surroundings(self, session, space: Space):
        raise NotImplementedError

    def check(self, session):
        session.store.space(session.checking)

    def take_columns(self, cursor: Cursor, parameters: dict, word: bytes) -> None:
        if not cursor.take(word):
            raise semantic("Missing yield clause.")
        self.distinct = cursor.take(b"DISTINCT")
        self.columns = cursor.listed(lambda: column(cursor, parameters))

    def take_pipe(self, cursor: Cursor) -> None:
        self.piped_count = None
        while cursor.take(b"|"):
            if cursor.take(b"LIMIT"):
                first = cursor.integer()
                self.skip, self.limit = (first, cursor.integer()) if cursor.take(b",") else (0, first)
            elif cursor.take(b"YIELD", b"COUNT", b"(", b"*", b")"):
                self.piped_count = cursor.next().decode() if cursor.take(b"AS") else COUNT
            else:
                raise cursor.wrong()

    def run(self, session):
        space = session.store.space(session.space)
        found = (names for names in self.surroundings(session, space) if self.where is None or self.where.evaluate(names) is True)
        titles = [title for _, title in self.columns]
        if any(one.text == COUNT for one, _ in self.columns):
            return titles, [[sum(1 for _ in found)]]
        rows = [[one.evaluate(names) for one, _ in self.columns] for names in found]
        if self.distinct:
            rows = list({repr(row): row for row in rows}.values())
        rows = rows[self.skip : None if self.limit is None else self.skip + self.limit]
        return ([self.piped_count], [[len(rows)]]) if self.piped_count else (titles, rows)


class FetchVertices(Reading):
    def __init__(self, cursor: Cursor, parameters: dict, tags: list[str] | None):
        self.tags = tags
        self.vids = cursor.listed(lambda: one_vid(cursor))
        self.take_columns(cursor, parameters, b"YIELD")
        self.take_pipe(cursor)

    def check(self, session):
        space = session.store.space(session.checking)
        for name in self.tags or ():
            if name not in space.tags or not space.tags[name].visible():
                raise semantic(f"`{name}' not found in space [`{space.name}'].")
        for vid in self.vids:
            check_vid_type(vid, space)

    def surroundings(self, session, space):
        for vid in self.vids:
            check_vid_length(vid, space)
            vertex = read_vertex(session, space, vid, self.tags)
            if vertex is not None:
                wanted = self.tags if self.tags is not None else list(space.tags)
                yield {"vertex": vertex, **{name: vertex.tags.get(name, EMPTY) for name in wanted}}


class FetchEdges(Reading):
    def __init__(self, cursor: Cursor, parameters: dict, name: str):
        self.name = name
        self.keys = cursor.listed(lambda: one_edge_key(cursor))
        self.take_columns(cursor, parameters, b"YIELD")
        self.take_pipe(cursor)

    def check(self, session):
        edge_type(session.store.space(session.checking), self.name)

    def surroundings(self, session, space):
        schema = edge_type(space, self.name)
        for source, target, rank in self.keys:
            row = session.store.edge(space.id, (source, schema.id, rank, target))
            if row is not None:
                edge = Edge(source, target, self.name, schema.id, rank, unpack(row, schema))
                yield {"edge": edge, self.name: edge}


def fetch(cursor: Cursor, parameters: dict) -> Reading:
    cursor.need(b"PROP", b"ON")
    if cursor.take(b"*"):
        return FetchVertices(cursor, parameters, None)
    names = cursor.listed(cursor.name)
    after = cursor.words[cursor.at + 1] if cursor.at + 1 < len(cursor.words) else b""
    if len(names) == 1 and after == b"->":
        return FetchEdges(cursor, parameters, names[0])
    return FetchVertices(cursor, parameters, names)


class Go(Reading):
    """One step; `REVERSELY` and `BIDIRECT` too."""

    def __init__(self, cursor: Cursor, parameters: dict):
        if cursor.peek().isdigit():
            if cursor.next() != b"1" or not (cursor.take(b"STEP") or cursor.take(b"STEPS")):
                raise semantic("the stand-in goes one step")
        cursor.need(b"FROM")
        self.vids = cursor.listed(lambda: one_vid(cursor))
        cursor.need(b"OVER")
        self.types = None if cursor.take(b"*") else cursor.listed(cursor.name)
        self.directions = ["out"]
        if cursor.take(b"REVERSELY"):
            self.directions = ["in"]
        elif cursor.take(b"BIDIRECT"):
            self.directions = ["out", "in"]
        if cursor.take(b"WHERE"):
            self.where = expression(cursor, parameters)
        self.take_columns(cursor, parameters, b"YIELD")
        self.take_pipe(cursor)

    def check(self, session):
        space = session.store.space(session.checking)
        for name in self.types or ():
            if name not in space.edges or not space.edges[name].visible():
                raise semantic(f"{name} not found in space [{space.name}].")
        for vid in self.vids:
            check_vid_type(vid, space)

    def surroundings(self, session, space):
        schemas = [space.edges[name] for name in (self.types if self.types is not None else space.edges)]
        by_id = {schema.id: schema for schema in schemas}
        for vid in dict.fromkeys(self.vids):
            check_vid_length(vid, space)
            for direction in self.directions:
                for edge in read_edges(session, space, vid, by_id, direction):
                    yield {**{schema.name: EMPTY for schema in schemas}, "edge": edge, edge.kind: edge}


class Match(Reading):
    """MATCH (v[:tag]) and MATCH ()-[e[:type]]->(), with a LIMIT, without which a real server refuses to scan."""

    def __init__(self, cursor: Cursor, parameters: dict):
        cursor.need(b"(")
        self.kind = None
        if cursor.take(b")"):
            cursor.need(b"-")
            cursor.need(b"[")
            self.variable, self.of = cursor.name(), "edge"
            self.kind = cursor.name() if cursor.take(b":") else None
            cursor.need(b"]")
            cursor.need(b"->")
            cursor.need(b"(")
        else:
            self.variable, self.of = cursor.name(), "vertex"
            self.kind = cursor.name() if cursor.take(b":") else None
        cursor.need(b")")
        if cursor.take(b"WHERE"):
            self.where = expression(cursor, parameters)
        self.take_columns(cursor, parameters, b"RETURN")
        if cursor.take(b"SKIP"):
            self.skip = cursor.integer()
        self.limit = cursor.integer() if cursor.take(b"LIMIT") else None
        self.take_pipe(cursor)

    def check(self, session):
        space = session.store.space(session.checking)
        if self.kind is not None and self.kind not in (space.tags if self.of == "vertex" else space.edges):
            raise semantic(f"`{self.kind}': Unknown {'tag' if self.of == 'vertex' else 'edge type'}")

    def run(self, session):
        if self.limit is None:
            raise storage("Scan vertices or edges need to specify a limit number, or limit number can not push down.")
        return super().run(session)

    def surroundings(self, session, space):
        database = session.store.database
        if self.of == "vertex":
            for (vid,) in database.execute("SELECT DISTINCT vid FROM vertex WHERE space = ?", (space.id,)).fetchall():
                vertex = read_vertex(session, space, vid, None)
                if vertex is not None and (self.kind is None or self.kind in vertex.tags):
                    yield {self.variable: vertex}
            return
        by_id = {schema.id: schema for schema in space.edges.values() if self.kind in (None, schema.name)}
        query = "SELECT src, type, rank, dst, row FROM edge WHERE space = ?"
        for source, type_id, rank, target, row in database.execute(query, (space.id,)).fetchall():
            if schema := by_id.get(type_id):
                yield {self.variable: Edge(source, target, schema.name, schema.id, rank, unpack(row, schema))}


class YieldConstants(Reading):
    def __init__(self, cursor: Cursor, parameters: dict):
        self.columns = cursor.listed(lambda: column(cursor, parameters))

    def check(self, session):
        pass

    def run(self, session):
        return [title for _, title in self.columns], [[one.evaluate({}) for one, _ in self.columns]]


def read_vertex(session, space: Space, vid, tags: list[str] | None) -> Vertex | None:
    """The vertex with those of its tags; None where it has none of them."""
    by_id = {schema.id: schema for schema in space.tags.values() if tags is None or schema.name in tags}
    rows = session.store.tags_of(space.id, vid)
    found = {by_id[tag].name: unpack(row, by_id[tag]) for tag, row in rows if tag in by_id}
    return Vertex(vid, found) if found else None


def read_edges(session, space: Space, vid, by_id: dict, direction: str):
    for source, type_id, rank, target, row in session.store.edges_of(space.id, vid, list(by_id), direction):
        schema = by_id[type_id]
        yield Edge(source, target, schema.name, schema.id if direction == "out" else -schema.id, rank, unpack(row, schema))
