"""ClickHouse's HTTP interface over the engine: server.py PORT FOLDER.

What it takes: queries by body, `query=` or multipart with parameters; INSERT data in any format, chunked, encoded or in
compressed blocks; settings in the URL; sessions. An acknowledged INSERT survives a kill -9 of this process.
What it leaves out: users other than `default` without a password, TLS, external tables, progress while a query runs, answers in
parts (an error never comes in the middle of one).
"""

import base64
import io
import json
import re
import socket
import sys
import traceback
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import connections
import framing
import statement
from engine import Engine, Refused

# Parameters of the interface; every other one is a setting of the query.
INTERFACE = {
    "query", "database", "default_format", "user", "password", "session_id", "session_timeout", "session_check", "query_id",
    "compress", "decompress", "quota_key", "role", "wait_end_of_query", "buffer_size", "stacktrace", "client_protocol_version",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms", "add_http_cors_header",
    "http_native_compression_disable_checksumming_on_decompress",
}  # fmt: skip
# The engine's numbers that are not an ordinary 500.
STATUS = {62: 400, 47: 400, 53: 400, 27: 400, 26: 400, 6: 400, 36: 400, 115: 400, 60: 404, 81: 404, 516: 403, 497: 403}
READ_BYTES = 1 << 18


class QuickReader(socket.SocketIO):
    """Answers each packet at once: clients that gather small packets would wait 40 ms for the acknowledgement of the last."""

    def __init__(self, connection: socket.socket):
        super().__init__(connection, "rb")
        self.connection = connection

    def readinto(self, buffer):
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().readinto(buffer)


class Request:
    """One HTTP request; the body is read once, from front to end."""

    def __init__(self, reader, connection, line: bytes):
        self.reader = reader
        self.method, target, _ = line.decode("latin-1").split(" ", 2)
        parts = urlsplit(target)
        self.path = unquote(parts.path)
        self.parameters = dict(parse_qsl(parts.query, keep_blank_values=True, encoding="utf-8", errors="surrogateescape"))
        self.headers = {}
        while (header := reader.readline(1 << 16)) not in (b"\r\n", b"\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()
        if self.headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.raw = self.chunks() if chunked else self.counted(int(self.headers.get("content-length", 0)))

    def counted(self, left: int):
        while left:
            part = self.reader.read1(min(left, READ_BYTES))
            if not part:
                raise ConnectionError("the client left in the middle of a body")
            left -= len(part)
            yield part

    def chunks(self):
        while True:
            size = int(self.reader.readline(1 << 16).partition(b";")[0] or b"x", 16)
            yield from self.counted(size)
            # The line end after a chunk; after the last one, trailers and the empty line.
            while self.reader.readline(1 << 16) not in (b"\r\n", b"") and size == 0:
                pass
            if size == 0:
                return

    def body(self):
        """The plain body, in parts."""
        parts = self.raw
        if encoding := self.headers.get("content-encoding"):
            parts = decoded(parts, framing.decompressor(encoding))
        if self.parameters.get("decompress") == "1":
            parts = framing.blocks(Gather(parts).read)
        return parts

    def drain(self) -> None:
        for _ in self.raw:
            pass


def decoded(parts, decompressor):
    for part in parts:
        if plain := decompressor.decompress(part):
            yield plain


class Gather:
    """Exact counts of bytes from parts of any size."""

    def __init__(self, parts):
        self.parts = iter(parts)
        self.held = bytearray()

    def read(self, count: int) -> bytes:
        while len(self.held) < count and (part := next(self.parts, None)) is not None:
            self.held += part
        taken = bytes(self.held[:count])
        del self.held[:count]
        return taken


def multipart(request: Request) -> dict[str, bytes]:
    """The fields of a multipart/form-data body."""
    boundary = re.search(r'boundary="?([^";]+)', request.headers["content-type"]).group(1).encode()
    fields = {}
    for part in (b"\r\n" + b"".join(request.body())).split(b"\r\n--" + boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        fields[re.search(rb'name="([^"]*)"', head).group(1).decode()] = value
    return fields


class Front:
    def __init__(self, folder: Path):
        self.engine = Engine(folder)

    def converse(self, connection: socket.socket) -> None:
        """All requests of one connection."""
        reader = io.BufferedReader(QuickReader(connection), READ_BYTES)
        try:
            while line := reader.readline(1 << 20):
                request = Request(reader, connection, line)
                status, headers, body = self.answer(request)
                request.drain()
                head = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}", f"Content-Length: {len(body)}", "Connection: Keep-Alive"]
                head += [f"{name}: {value}" for name, value in headers.items()]
                connection.sendall("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (b"" if request.method == "HEAD" else body))
                if request.headers.get("connection", "").lower() == "close":
                    return
        except (ConnectionError, ValueError, TimeoutError):
            # The client left, or does not speak HTTP: what it did not finish sending is not inserted.
            pass
        finally:
            connection.close()

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.path in ("/ping", "/replicas_status"):
            return 200, {"Content-Type": "text/html; charset=UTF-8"}, b"Ok.\n"
        if request.path != "/":
            return 404, {}, b"There is no handle " + request.path.encode() + b"\n"
        try:
            return self.query(request)
        except ConnectionError:
            raise
        except statement.SeveralStatements:
            return self.error(62, "Code: 62. DB::Exception: Syntax error (Multi-statements are not allowed). (SYNTAX_ERROR)")
        except framing.Broken as error:
            return self.error(40, f"Code: 40. DB::Exception: {error}. (CHECKSUM_DOESNT_MATCH)")
        except Refused as error:
            return self.error(error.code, str(error))
        except Exception:  # noqa: BLE001  (a fault of this front must reach the test that met it)
            return self.error(1002, f"Code: 1002. DB::Exception: the front failed: {traceback.format_exc()}")

    def error(self, code: int, text: str) -> tuple[int, dict[str, str], bytes]:
        headers = {"X-ClickHouse-Exception-Code": str(code), "Content-Type": "text/plain; charset=UTF-8"}
        return STATUS.get(code, 500), headers, text.encode("utf-8", "replace") + b"\n"

    def query(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        parameters = dict(request.parameters)
        self.check_user(request, parameters)
        text = parameters.get("query", "").encode("utf-8", "surrogateescape")
        parts = iter(())
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            for name, value in multipart(request).items():
                if name == "query":
                    text += value
                else:
                    parameters[name] = value.decode("utf-8", "surrogateescape")
        else:
            parts = request.body()
        if not text.strip():
            text, parts = b"".join(parts), iter(())
        parsed = statement.parse(text)
        if not isinstance(parsed, statement.Insert) and (rest := b"".join(parts)):
            # The interface joins both texts: a query may begin in the URL and end in the body.
            parsed = statement.parse(text + b"\n" + rest)
        body = None
        try:
            if isinstance(parsed, statement.Insert):
                body = self.engine.new_body()
                with open(body, "wb") as file:
                    file.write(parsed.data)
                    for part in parts:
                        file.write(part)
            return self.run(request, parameters, parsed, body)
        finally:
            if body:
                body.unlink(missing_ok=True)

    def run(self, request, parameters, parsed, body) -> tuple[int, dict[str, str], bytes]:
        settings = {name: value for name, value in parameters.items() if name not in INTERFACE and not name.startswith("param_")}
        if request.method in ("GET", "HEAD"):
            settings.setdefault("readonly", "2")
        # Last: after it no other setting can be made.
        if "readonly" in settings:
            settings["readonly"] = settings.pop("readonly")
        query = {
            "database": parameters.get("database") or request.headers.get("x-clickhouse-database"),
            "format": parameters.get("default_format") or request.headers.get("x-clickhouse-format") or "TabSeparated",
            "parameters": {name.removeprefix("param_"): value for name, value in parameters.items() if name.startswith("param_")},
        }
        timeout_s = float(parameters.get("session_timeout", 60))
        with self.engine.connection(parameters.get("session_id"), timeout_s) as connection:
            result = self.engine.run(connection, parsed, body, settings, query)
            answer = bytes(result.bytes() or b"")
            summary = {
                "read_rows": str(result.rows_read()),
                "read_bytes": str(result.bytes_read()),
                "written_rows": str(result.rows_written()),
                "written_bytes": str(result.bytes_written()),
            }
        headers = {"X-ClickHouse-Summary": json.dumps(summary), "X-ClickHouse-Timezone": "UTC", "Content-Type": "text/plain; charset=UTF-8"}
        headers["X-ClickHouse-Format"] = parsed.format.decode() if parsed.format else query["format"]
        if "query_id" in parameters:
            headers["X-ClickHouse-Query-Id"] = parameters["query_id"]
        if parameters.get("compress") == "1":
            return 200, headers, framing.pack(answer)
        if parameters.get("enable_http_compression", "1") == "1":
            answer, encoding = framing.encode(answer, request.headers.get("accept-encoding", ""))
            if encoding:
                headers["Content-Encoding"] = encoding
        return 200, headers, answer

    def check_user(self, request: Request, parameters: dict[str, str]) -> None:
        user = request.headers.get("x-clickhouse-user") or parameters.get("user")
        password = request.headers.get("x-clickhouse-key") or parameters.get("password") or ""
        authorization = request.headers.get("authorization", "")
        if authorization.startswith("Basic "):
            given = base64.b64decode(authorization.removeprefix("Basic ")).decode("utf-8", "replace")
            user, _, password = given.partition(":")
        if (user or "default") != "default" or password:
            text = f"{user}: Authentication failed: password is incorrect, or there is no user with such name."
            raise Refused(516, f"Code: 516. DB::Exception: {text} (AUTHENTICATION_FAILED) (version {self.engine.version})")


if __name__ == "__main__":
    connections.serve(int(sys.argv[1]), Front(Path(sys.argv[2])).converse)
