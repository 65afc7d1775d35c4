"""A graphd that answers over the official wire code: server.py PORT FOLDER.

The wire (frames, protocol, types) is that of the `nebula3-python` package; what the statements do is ours (statements.py) and
follows NebulaGraph 3.8. It shows a client's bytes and statements to be right, not how a real cluster behaves under load.

A test may put a file `faults` into the folder: see shared/faults.py; a writing statement is a call there.
"""

import os
import secrets
import socket
import sys
import threading
import time
from pathlib import Path

from nebula3.common.ttypes import DataSet, Row
from nebula3.fbthrift.protocol import THeaderProtocol
from nebula3.fbthrift.transport import TSocket, TTransport
from nebula3.fbthrift.transport.THeaderTransport import CLIENT_TYPE
from nebula3.graph import GraphService
from nebula3.graph.ttypes import AuthResponse, ExecutionResponse, VerifyClientVersionResp

import connections
import statements
from faults import Faults
from refusal import BAD_USERNAME_PASSWORD, CLIENT_VERSION, SESSION_INVALID, TOO_MANY_CONNECTIONS, Refusal, syntax
from store import Store
from values import from_wire, to_wire

USER, PASSWORD = b"root", b"nebula"
# As delivered. A client that leaks sessions runs into it; those of killed clients are given up after a while.
SESSIONS_MAX = 300
SESSION_IDLE_S = 30
# Servers before 3.5 take no parameters in INSERT; a test may ask for such a one.
VERSION = os.environ.get("TIDEMARK_NEBULA_VERSION", "3.8.0")


class Session:
    def __init__(self, store: Store, faults: Faults):
        self.store = store
        self.faults = faults
        self.version = VERSION
        self.space: str | None = None
        # The space while a text is checked: USE changes it for the statements behind it.
        self.checking: str | None = None
        self.used = time.monotonic()


class Graph(GraphService.Iface):
    def __init__(self, folder: Path):
        self.store = Store(folder)
        self.faults = Faults(folder / "faults", Refusal)
        self.sessions: dict[int, Session] = {}
        # One statement at a time: the store has one writer, and Python one thread that computes.
        self.guard = threading.Lock()

    def verifyClientVersion(self, req):
        known = req is not None and req.version in (b"3.0.0", VERSION.encode())
        if known:
            return VerifyClientVersionResp(error_code=0)
        message = f"Graph client version is not supported: {req.version!r}"
        return VerifyClientVersionResp(error_code=CLIENT_VERSION, error_msg=message.encode())

    def authenticate(self, username, password):
        with self.guard:
            if username != USER:
                return AuthResponse(error_code=BAD_USERNAME_PASSWORD, error_msg=b"User not exist")
            if password != PASSWORD:
                return AuthResponse(error_code=BAD_USERNAME_PASSWORD, error_msg=b"Invalid password")
            if len(self.sessions) >= SESSIONS_MAX:
                limit = time.monotonic() - SESSION_IDLE_S
                self.sessions = {number: session for number, session in self.sessions.items() if session.used > limit}
            if len(self.sessions) >= SESSIONS_MAX:
                text = f"Create Session failed: Too many sessions created from 127.0.0.1 by user root. the threshold is {SESSIONS_MAX}."
                return AuthResponse(error_code=TOO_MANY_CONNECTIONS, error_msg=text.encode())
            number = secrets.randbits(62) | 1
            self.sessions[number] = Session(self.store, self.faults)
            return AuthResponse(error_code=0, session_id=number, time_zone_offset_seconds=0, time_zone_name=b"UTC")

    def signout(self, sessionId):
        with self.guard:
            self.sessions.pop(sessionId, None)

    def execute(self, sessionId, stmt):
        return self.executeWithParameter(sessionId, stmt, {})

    def executeWithParameter(self, sessionId, stmt, parameterMap):
        start = time.monotonic()
        with self.guard:
            session = self.sessions.get(sessionId)
            if session is None:
                return ExecutionResponse(error_code=SESSION_INVALID, latency_in_us=0, error_msg=b"Session not existed!")
            session.used = start
            answer = ExecutionResponse(error_code=0)
            try:
                parameters = {name: from_wire(value) for name, value in (parameterMap or {}).items()}
                if parameters and tuple(map(int, VERSION.split(".")[:2])) < (3, 5):
                    raise syntax("parameters of INSERT need a server of 3.5 or newer (the stand-in plays an older one)")
                result = statements.run(session, stmt, parameters)
            except Refusal as refusal:
                answer.error_code = refusal.code
                answer.error_msg = str(refusal).encode()
            else:
                if result is not None:
                    columns, rows = result
                    wire_rows = [Row(values=[to_wire(value) for value in row]) for row in rows]
                    answer.data = DataSet(column_names=[name.encode() for name in columns], rows=wire_rows)
            answer.space_name = (session.space or "").encode()
            answer.latency_in_us = int((time.monotonic() - start) * 1e6)
            return answer


class Wire:
    def __init__(self, folder: Path):
        self.processor = GraphService.Processor(Graph(folder))

    def converse(self, connection: socket.socket) -> None:
        """All calls of one connection."""
        wrapped = TSocket.TSocket()
        wrapped.setHandle(connection)
        kinds = [CLIENT_TYPE.HEADER, CLIENT_TYPE.FRAMED_DEPRECATED, CLIENT_TYPE.UNFRAMED_DEPRECATED]
        protocol = THeaderProtocol.THeaderProtocol(TTransport.TBufferedTransport(wrapped), client_types=kinds)
        try:
            while True:
                self.processor.process(protocol, protocol, None)
        except (TTransport.TTransportException, OSError):
            # The client left.
            pass
        finally:
            wrapped.close()


if __name__ == "__main__":
    connections.serve(int(sys.argv[1]), Wire(Path(sys.argv[2])).converse)
