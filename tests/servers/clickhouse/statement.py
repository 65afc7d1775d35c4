"""Just enough of ClickHouse's SQL to know where an INSERT's data begin and whether a text holds more than one statement.

The engine would run every statement of a text; a real server's HTTP interface refuses a second one, and so must this.
"""

import re
from dataclasses import dataclass

TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/)
    |(?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
# Between FORMAT's name and the data: blanks, then at most one line end.
DATA_START = re.compile(rb"[ \t\f]*\r?\n?")


class SeveralStatements(Exception):
    """More than one statement in one text."""


@dataclass
class Insert:
    """INSERT whose data are not part of the SQL: `head` up to the table's columns, then settings, then the format."""

    head: bytes
    settings: bytes
    format: bytes
    data: bytes


@dataclass
class Other:
    """Any other statement; `format` is the one that it asks its answer in."""

    text: bytes
    format: bytes | None


def parse(text: bytes) -> Insert | Other:
    """Raises SeveralStatements."""
    tokens = top_level(text)
    first = next(tokens, None)
    insert = first is not None and first[1].upper() == b"INSERT"
    settings_at, format_name = None, None
    for kind, value, start, end in tokens:
        word = value.upper() if kind == "word" else b""
        if value == b";":
            if any(kind != "space" for kind, *_ in scan(text[end:])):
                raise SeveralStatements
            return Other(text[:start], format_name)
        if insert and word in (b"SELECT", b"WITH", b"INFILE"):
            insert = False
        if insert and word == b"SETTINGS":
            settings_at = start
        if insert and word == b"VALUES":
            rest = text[end:]
            if not rest.strip():
                return Insert(text[: settings_at or start], text[settings_at or start : start], b"Values", b"")
            # Values stand in the SQL's own syntax, and the engine reads them to their end.
            insert = False
        if word == b"FORMAT":
            name = next(tokens, None)
            if name is None:
                break
            format_name = name[1]
            if insert:
                data = text[DATA_START.match(text, name[3]).end() :]
                return Insert(text[: settings_at or start], text[settings_at or start : start], format_name, data)
    return Other(text, format_name)


def scan(text: bytes):
    for match in TOKEN.finditer(text):
        yield match.lastgroup if match.lastgroup != "tag" else "text", match.group(), match.start(), match.end()


def top_level(text: bytes):
    """What stands outside brackets, without blanks and comments."""
    depth = 0
    for token in scan(text):
        kind, value = token[0], token[1]
        if kind == "sign" and value in b"([{":
            depth += 1
        elif kind == "sign" and value in b")]}":
            depth -= 1
        elif depth <= 0 and kind != "space":
            yield token
