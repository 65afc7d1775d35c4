"""ClickHouse's engine in this process: one connection for each request, so that USE and SET touch nobody else.

Data of an INSERT go in by way of a file (FROM INFILE) and never behind the SQL or through the streaming inserter: behind the
SQL the engine ends them at the first blank line and runs the rest as SQL, and the inserter swallows errors of the write.
"""

import contextlib
import re
import shutil
import threading
import time
from pathlib import Path

from chdb.state.sqlitelike import Connection
from statement import Insert, Other

CODE = re.compile(r"Code: (\d+)\.")


class Refused(Exception):
    """An error of ClickHouse's kind, with its number and text."""

    def __init__(self, code: int, text: str):
        super().__init__(text)
        self.code = code


class Engine:
    def __init__(self, folder: Path):
        self.path = str(folder / "data")
        self.bodies = folder / "bodies"
        # Left there by a kill -9.
        shutil.rmtree(self.bodies, ignore_errors=True)
        self.bodies.mkdir(parents=True)
        # Stays open: the engine lives as long as one connection does.
        self.root = Connection(self.path)
        self.version = self.root.query("SELECT version()", "TSVRaw").bytes().decode().strip()
        self.sessions: dict[str, Session] = {}
        self.guard = threading.Lock()
        self.body_count = 0

    def new_body(self) -> Path:
        with self.guard:
            self.body_count += 1
            return self.bodies / f"{self.body_count}"

    @contextlib.contextmanager
    def connection(self, session_id: str | None, timeout_s: float):
        """A connection for one request, or the one of a session."""
        if session_id is None:
            connection = Connection(self.path)
            try:
                yield connection
            finally:
                connection.close()
            return
        session = self.session(session_id, timeout_s)
        try:
            yield session.connection
        finally:
            session.until = time.monotonic() + timeout_s
            session.busy.release()

    def session(self, session_id: str, timeout_s: float) -> "Session":
        with self.guard:
            now = time.monotonic()
            for name in [name for name, session in self.sessions.items() if session.until < now and session.busy.acquire(blocking=False)]:
                self.sessions.pop(name).connection.close()
            session = self.sessions.get(session_id) or Session(Connection(self.path), now + timeout_s)
            self.sessions[session_id] = session
            if not session.busy.acquire(blocking=False):
                raise Refused(373, f"Code: 373. DB::Exception: Session {session_id} is locked by a concurrent client. (SESSION_IS_LOCKED)")
            return session

    def run(self, connection, statement: Insert | Other, body: Path | None, settings: dict[str, str], request: dict):
        """Runs one statement; `request` has database, format, parameters. Raises Refused."""
        try:
            if request["database"]:
                connection.query(f"USE {identifier(request['database'])}")
            for name, value in settings.items():
                if not name.isidentifier():
                    raise Refused(115, f"Code: 115. DB::Exception: Setting {name} is neither a builtin setting nor custom. (UNKNOWN_SETTING)")
                connection.query(f"SET {name} = {literal(value)}")
            if isinstance(statement, Insert):
                text = (
                    statement.head
                    + f" FROM INFILE {literal(str(body))} COMPRESSION 'none' ".encode()
                    + statement.settings
                    + b" FORMAT "
                    + statement.format
                )
            else:
                text = statement.text
            # As bytes: a text need not be UTF-8.
            return connection.query(text, request["format"], params=request["parameters"])
        except Exception as error:
            # The engine's errors have no type of their own, only a text that begins with the number.
            if CODE.search(str(error)) is None or isinstance(error, Refused):
                raise
            raise self.refused(str(error)) from None

    def refused(self, text: str) -> Refused:
        found = CODE.search(text)
        return Refused(int(found.group(1)) if found else 1001, f"{text} (version {self.version})")


class Session:
    def __init__(self, connection, until: float):
        self.connection = connection
        self.until = until
        self.busy = threading.Lock()


def literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(value: str) -> str:
    return "`" + value.replace("\\", "\\\\").replace("`", "\\`") + "`"
