"""Spaces, schemas and rows of the stand-in, in one SQLite file: what was acknowledged survives a kill -9.

A row is kept as its cells in the schema's order; a column added later is missing in older rows and read as its default.
"""

import marshal
import pickle
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

from refusal import execution, semantic

# graphd and storaged learn of a new space, tag or column with their next heartbeat; metad knows at once. A real cluster takes
# up to 20 s; long enough here that a client which does not wait is found out.
PROPAGATION_S = 0.3


@dataclass
class Field:
    name: str
    type: str
    length: int = 0
    nullable: bool = True
    has_default: bool = False
    default: object = None
    comment: str | None = None

    def type_text(self) -> str:
        return f"fixed_string({self.length})" if self.type == "fixed_string" else self.type


@dataclass
class Schema:
    """A tag or an edge type. `fields` is what metad knows, `known()` what the others have heard of."""

    id: int
    name: str
    fields: list[Field]
    created: float
    # When each field was added.
    added: list[float]

    def visible(self) -> bool:
        return time.time() >= self.created + PROPAGATION_S

    def known(self) -> list[Field]:
        now = time.time()
        return [one for one, since in zip(self.fields, self.added) if now >= since + PROPAGATION_S]

    def positions(self) -> dict[str, int]:
        return {one.name: position for position, one in enumerate(self.known())}


@dataclass
class Space:
    id: int
    name: str
    partitions: int
    replicas: int
    vid_length: int | None
    comment: str
    created: float
    tags: dict[str, Schema] = field(default_factory=dict)
    edges: dict[str, Schema] = field(default_factory=dict)

    def visible(self) -> bool:
        return time.time() >= self.created + PROPAGATION_S

    def vid_type(self) -> str:
        return "INT64" if self.vid_length is None else f"FIXED_STRING({self.vid_length})"


class Store:
    def __init__(self, folder: Path):
        self.database = sqlite3.connect(folder / "data.db", check_same_thread=False, isolation_level=None)
        # Not synchronous: a killed process loses nothing by it, and nothing here tells about a power cut anyway.
        self.database.executescript(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = OFF;
            CREATE TABLE IF NOT EXISTS catalog (id INTEGER PRIMARY KEY, data BLOB);
            CREATE TABLE IF NOT EXISTS vertex (space INTEGER, vid BLOB, tag INTEGER, row BLOB, PRIMARY KEY (space, vid, tag)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS edge (space INTEGER, src BLOB, type INTEGER, rank INTEGER, dst BLOB, row BLOB,
                PRIMARY KEY (space, src, type, rank, dst)) WITHOUT ROWID;
            CREATE INDEX IF NOT EXISTS edge_in ON edge (space, dst, type);
            """
        )
        saved = self.database.execute("SELECT data FROM catalog WHERE id = 1").fetchone()
        self.spaces: dict[str, Space] = pickle.loads(saved[0]) if saved else {}
        self.last_id = max((one.id for space in self.spaces.values() for one in all_of(space)), default=0)

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def save_catalog(self) -> None:
        self.database.execute("INSERT OR REPLACE INTO catalog VALUES (1, ?)", (pickle.dumps(self.spaces),))

    def space(self, name: str | None) -> Space:
        """A space that graphd knows."""
        if name is None:
            raise semantic("Space was not chosen.")
        space = self.spaces.get(name)
        if space is None or not space.visible():
            raise execution(f"SpaceNotFound: SpaceName `{name}`")
        return space

    def transaction(self):
        return Transaction(self.database)

    # === rows ===

    def put_vertices(self, rows, keep_old: bool) -> None:
        """rows: (space, vid, tag, cells)"""
        how = "IGNORE" if keep_old else "REPLACE"
        self.database.executemany(f"INSERT OR {how} INTO vertex VALUES (?, ?, ?, ?)", rows)

    def put_edges(self, rows, keep_old: bool) -> None:
        """rows: (space, src, type, rank, dst, cells)"""
        how = "IGNORE" if keep_old else "REPLACE"
        self.database.executemany(f"INSERT OR {how} INTO edge VALUES (?, ?, ?, ?, ?, ?)", rows)

    def tags_of(self, space: int, vid) -> list[tuple[int, bytes]]:
        return self.database.execute("SELECT tag, row FROM vertex WHERE space = ? AND vid = ?", (space, vid)).fetchall()

    def edges_of(self, space: int, vid, types: list[int], direction: str) -> list[tuple]:
        """(src, type, rank, dst, row)"""
        side = "src" if direction == "out" else "dst"
        marks = ", ".join("?" * len(types))
        query = f"SELECT src, type, rank, dst, row FROM edge WHERE space = ? AND {side} = ? AND type IN ({marks})"
        return self.database.execute(query, (space, vid, *types)).fetchall()

    def edge(self, space: int, key: tuple) -> bytes | None:
        query = "SELECT row FROM edge WHERE space = ? AND src = ? AND type = ? AND rank = ? AND dst = ?"
        found = self.database.execute(query, (space, *key)).fetchone()
        return found[0] if found else None

    def drop_rows(self, space: int) -> None:
        self.database.execute("DELETE FROM vertex WHERE space = ?", (space,))
        self.database.execute("DELETE FROM edge WHERE space = ?", (space,))


class Transaction:
    def __init__(self, database):
        self.database = database

    def __enter__(self):
        self.database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind, error, trace):
        self.database.execute("ROLLBACK" if kind else "COMMIT")


def all_of(space: Space) -> list:
    return [space, *space.tags.values(), *space.edges.values()]


def pack(cells: list) -> bytes:
    return marshal.dumps(cells)


def unpack(row: bytes, schema: Schema) -> dict[str, object]:
    """Cells by column name; a column younger than the row has its default."""
    cells = marshal.loads(row)
    named = {}
    for position, one in enumerate(schema.known()):
        named[one.name] = cells[position] if position < len(cells) else one.default
    return named
