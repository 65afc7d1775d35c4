"""A schema registry of the Confluent kind: server.py PORT FOLDER.

Ids belong to schemas and are the same under every subject; versions belong to subjects. What was registered is in a file before it
is answered. A subject whose compatibility was set to `FULL_TRANSITIVE` takes only what reads and is read by all that it holds, by
Avro's own check; no other rule is known, and without one anything is taken (`NONE`). A request may come without credentials, or
with `registry` and `secret`; wrong ones are refused.

In Python beside the Kafka client's packages, which the tests need anyway: the kept registry in Go would ask for a second
toolchain, newer than the one that Debian packs, for the same dozen of routes.
"""

import base64
import json
import re
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import avro.schema
import fastavro
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException

NO_SCHEMA = (AvroException, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType)
NONE, FULL_TRANSITIVE = "NONE", "FULL_TRANSITIVE"
CREDENTIALS = base64.b64encode(b"registry:secret").decode()


class Refused(Exception):
    def __init__(self, status: int, code: int, text: str):
        super().__init__(text)
        self.status, self.code = status, code


class Registry:
    def __init__(self, file: Path):
        self.guard = threading.Lock()
        self.ids: dict[str, int] = {}
        self.texts: dict[int, str] = {}
        # By subject: ids in the order of their versions.
        self.subjects: dict[str, list[int]] = {}
        self.rules: dict[str, str] = {}
        # A line that a kill cut short was never answered: it goes.
        whole = file.read_bytes().rpartition(b"\n")[0] if file.exists() else b""
        for line in whole.splitlines():
            self.apply(**json.loads(line))
        file.write_bytes(whole + b"\n" if whole else b"")
        self.file = open(file, "ab", buffering=0)

    def apply(self, subject: str, id: int, schema: str | None, rule: str | None = None) -> None:
        if rule is not None:
            self.rules[subject] = rule
            return
        if schema is None:
            self.subjects.pop(subject, None)
            self.rules.pop(subject, None)
            return
        self.ids[canonical(schema)] = id
        self.texts[id] = schema
        versions = self.subjects.setdefault(subject, [])
        if id not in versions:
            versions.append(id)

    def keep(self, subject: str, number: int, text: str | None, rule: str | None = None) -> None:
        entry = {"subject": subject, "id": number, "schema": text, "rule": rule}
        self.file.write(json.dumps(entry).encode() + b"\n")
        self.apply(**entry)

    def register(self, subject: str, body: dict) -> int:
        text = body.get("schema", "")
        check(body)
        with self.guard:
            number = self.ids.get(canonical(text)) or max(self.texts, default=0) + 1
            if number not in self.subjects.get(subject, []):
                self.require_compatible(subject, text)
                self.keep(subject, number, text)
            return number

    def require_compatible(self, subject: str, text: str) -> None:
        if self.rules.get(subject, NONE) == NONE:
            return
        for version, number in enumerate(self.subjects.get(subject, []), 1):
            for reader, writer in ((text, self.texts[number]), (self.texts[number], text)):
                found = ReaderWriterCompatibilityChecker().get_compatibility(parsed(reader), parsed(writer))
                if found.compatibility != SchemaCompatibilityType.compatible:
                    why = "; ".join(sorted(found.messages))
                    raise Refused(409, 409, f"Schema being registered is incompatible with version {version} of {subject}: {why}")

    def rule(self, subject: str) -> dict:
        if subject not in self.rules:
            raise Refused(404, 40408, f"Subject '{subject}' does not have subject-level compatibility configured")
        return {"compatibilityLevel": self.rules[subject]}

    def set_rule(self, subject: str, body: dict) -> dict:
        rule = body.get("compatibility")
        if rule not in (NONE, FULL_TRANSITIVE):
            raise Refused(422, 42203, f"this registry knows only {NONE} and {FULL_TRANSITIVE}, not {rule}")
        with self.guard:
            self.keep(subject, 0, None, rule)
        return {"compatibility": rule}

    def look_up(self, subject: str, body: dict) -> dict:
        check(body)
        number = self.ids.get(canonical(body["schema"]))
        versions = self.versions(subject)
        if number not in versions:
            raise Refused(404, 40403, "Schema not found")
        return self.shown(subject, versions.index(number) + 1)

    def versions(self, subject: str) -> list[int]:
        if subject not in self.subjects:
            raise Refused(404, 40401, f"Subject '{subject}' not found.")
        return self.subjects[subject]

    def shown(self, subject: str, version: str | int) -> dict:
        versions = self.versions(subject)
        if version in ("latest", "-1"):
            version = len(versions)
        if not str(version).isdigit():
            raise Refused(422, 42202, f"The specified version '{version}' is not a valid version id.")
        if not 1 <= int(version) <= len(versions):
            raise Refused(404, 40402, f"Version {version} not found.")
        number = versions[int(version) - 1]
        return {"subject": subject, "version": int(version), "id": number, "schema": self.texts[number]}

    def by_id(self, number: str) -> dict:
        if int(number) not in self.texts:
            raise Refused(404, 40403, f"Schema {number} not found")
        return {"schema": self.texts[int(number)]}

    def uses(self, number: str) -> list[dict]:
        self.by_id(number)
        found = []
        for subject, versions in sorted(self.subjects.items()):
            found += [{"subject": subject, "version": place} for place, one in enumerate(versions, 1) if one == int(number)]
        return found

    def delete(self, subject: str) -> list[int]:
        with self.guard:
            versions = list(range(1, len(self.versions(subject)) + 1))
            self.keep(subject, 0, None)
            return versions


def canonical(text: str) -> str:
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError:
        return text


def parsed(text: str) -> avro.schema.Schema:
    with warnings.catch_warnings():
        # it does not know every logical type, and needs none here
        warnings.simplefilter("ignore")
        return avro.schema.parse(text)


def check(body: dict) -> None:
    if body.get("schemaType", "AVRO") != "AVRO":
        raise Refused(422, 42201, "this registry knows only Avro")
    text = body.get("schema", "")
    try:
        fastavro.parse_schema(json.loads(text))
        parsed(text)
    except (ValueError, KeyError, TypeError, AttributeError, *NO_SCHEMA) as error:
        raise Refused(422, 42201, f"Invalid schema: {error!r}") from None


ROUTES = [
    ("GET", r"/subjects", lambda registry: sorted(registry.subjects)),
    ("GET", r"/schemas/types", lambda registry: ["AVRO"]),
    ("GET", r"/schemas/ids/(\d+)", lambda registry, number: registry.by_id(number)),
    ("GET", r"/schemas/ids/(\d+)/schema", lambda registry, number: json.loads(registry.by_id(number)["schema"])),
    ("GET", r"/schemas/ids/(\d+)/versions", lambda registry, number: registry.uses(number)),
    ("GET", r"/schemas/ids/(\d+)/subjects", lambda registry, number: [use["subject"] for use in registry.uses(number)]),
    ("GET", r"/subjects/([^/]+)/versions", lambda registry, subject: list(range(1, len(registry.versions(subject)) + 1))),
    ("GET", r"/subjects/([^/]+)/versions/([^/]+)", lambda registry, subject, version: registry.shown(subject, version)),
    ("GET", r"/subjects/([^/]+)/versions/([^/]+)/schema", lambda registry, subject, version: json.loads(registry.shown(subject, version)["schema"])),
    ("POST", r"/subjects/([^/]+)/versions", lambda registry, subject, body: {"id": registry.register(subject, body)}),
    ("POST", r"/subjects/([^/]+)", lambda registry, subject, body: registry.look_up(subject, body)),
    ("DELETE", r"/subjects/([^/]+)", lambda registry, subject: registry.delete(subject)),
    ("GET", r"/config", lambda registry: {"compatibilityLevel": NONE}),
    ("GET", r"/config/([^/]+)", lambda registry, subject: registry.rule(subject)),
    ("PUT", r"/config/([^/]+)", lambda registry, subject, body: registry.set_rule(subject, body)),
    ("GET", r"/mode(?:/[^/]+)?", lambda registry: {"mode": "READWRITE"}),
    ("GET", r"/", lambda registry: {}),
]  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        try:
            status, answer = 200, self.route(body)
        except Refused as refused:
            status, answer = refused.status, {"error_code": refused.code, "message": str(refused)}
        packed = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)

    do_GET = do_POST = do_DELETE = do_PUT = serve

    def route(self, body: bytes):
        credentials = self.headers.get("Authorization")
        if credentials is not None and credentials != f"Basic {CREDENTIALS}":
            raise Refused(401, 401, "Unauthorized")
        path = urlsplit(self.path).path.rstrip("/") or "/"
        for method, pattern, action in ROUTES:
            found = re.fullmatch(pattern, path)
            if method == self.command and found:
                arguments = [unquote(part) for part in found.groups()]
                if method in ("POST", "PUT"):
                    arguments.append(self.parsed(body))
                return action(self.registry, *arguments)
        raise Refused(404, 404, "HTTP 404 Not Found")

    def parsed(self, body: bytes) -> dict:
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(422, 42201, "the body is not a JSON object")
        return found

    def log_message(self, *_) -> None:
        pass


if __name__ == "__main__":
    Handler.registry = Registry(Path(sys.argv[2]) / "schemas.jsonl")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
