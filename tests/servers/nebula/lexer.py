"""nGQL's words, as the scanner of NebulaGraph 3 has them, and a cursor over them.

Stricter in one point: a raw line end or NUL inside a literal, after which a real server loses the rest without a word, is a
syntax error here.
"""

import re

from refusal import syntax

RESERVED = set(
    b"""ACROSS ADD ALTER AND AS ASC ASCENDING BALANCE BOOL BY CASE CHANGE COMPACT CREATE DATE DATETIME DELETE DESC DESCENDING DESCRIBE
    DISTINCT DOUBLE DOWNLOAD DROP DURATION EDGE EDGES EXISTS EXPLAIN FALSE FETCH FIND FIXED_STRING FLOAT FLUSH FROM GEOGRAPHY GET GO
    GRANT IF IGNORE_EXISTED_INDEX IN INDEX INDEXES INGEST INSERT INT INT16 INT32 INT64 INT8 INTERSECT IS JOIN LEFT LIST LOOKUP MAP
    MATCH MINUS NO NOT NOT_IN NULL OF ON OR ORDER OVER OVERWRITE PATH PROP REBUILD RECOVER REMOVE RESTART RETURN REVERSELY REVOKE SET
    SHOW STEP STEPS STOP STRING SUBMIT TAG TAGS TIME TIMESTAMP TO TRUE UNION UNWIND UPDATE UPSERT UPTO USE VERTEX VERTICES WHEN WHERE
    WITH XOR YIELD""".split()
)

# One group: `findall` then gives the words alone. The last alternative takes any byte, so that nothing is passed over.
WORD = re.compile(
    rb"""(?:\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)*
    ("(?:[^"\\\n\0]|\\[^\0])*"|'(?:[^'\\\n\0]|\\[^\0])*'|`[^`\\.\n\0]+`|\$[A-Za-z_]\w*|\$-
    |0[xX][0-9a-fA-F]+|\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+(?:[eE][+-]?\d+)?
    |[A-Za-z_]\w*|->|<-|==|!=|<>|<=|>=|.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[uUxX]([0-9a-fA-F]{4})|(.))", re.DOTALL)
SHORT = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f"}
INT64 = range(-(1 << 63), 1 << 63)


def unescape(literal: bytes) -> bytes:
    """The bytes that a quoted literal stands for."""
    inner = literal[1:-1]
    return ESCAPE.sub(unescape_one, inner) if b"\\" in inner else inner


def unescape_one(match: re.Match) -> bytes:
    octal, unicode, other = match.groups()
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if unicode is not None:
        return chr(int(unicode, 16)).encode("utf-8", "surrogatepass")
    if other in b"89":
        raise syntax(f"syntax error near `\\{other.decode()}'")
    return SHORT.get(other, other)


class Cursor:
    """The words of a statement list, read from the front."""

    def __init__(self, text: bytes):
        self.words = WORD.findall(text)
        # What blanks and comments at the end leave behind.
        while self.words and not self.words[-1].strip():
            self.words.pop()
        self.words.append(b"")
        self.at = 0

    def peek(self) -> bytes:
        return self.words[self.at]

    def next(self) -> bytes:
        word = self.words[self.at]
        self.at += 1
        return word

    def near(self) -> str:
        return b" ".join(self.words[self.at : self.at + 3]).decode("utf-8", "replace").strip()[:80]

    def wrong(self):
        return syntax(f"syntax error near `{self.near()}'")

    def is_word(self, *keywords: bytes) -> bool:
        return all(self.words[min(self.at + step, len(self.words) - 1)].upper() == keyword for step, keyword in enumerate(keywords))

    def take(self, *keywords: bytes) -> bool:
        """Takes these words if they come next."""
        if not self.is_word(*keywords):
            return False
        self.at += len(keywords)
        return True

    def need(self, *keywords: bytes) -> None:
        if not self.take(*keywords):
            raise self.wrong()

    def name(self) -> str:
        word = self.peek()
        if word[:1] == b"`" and len(word) > 2:
            self.at += 1
            return word[1:-1].decode("utf-8", "replace")
        if re.fullmatch(rb"[A-Za-z_]\w*", word, re.ASCII) and word.upper() not in RESERVED:
            self.at += 1
            return word.decode()
        raise self.wrong()

    def string(self) -> bytes:
        word = self.peek()
        if word[:1] in b"\"'" and len(word) > 1:
            self.at += 1
            return unescape(word)
        raise self.wrong()

    def integer(self) -> int:
        sign = -1 if self.take(b"-") else 1
        word = self.peek()
        if not re.fullmatch(rb"\d+|0[xX][0-9a-fA-F]+", word):
            raise self.wrong()
        self.at += 1
        value = sign * number(word)
        if value not in INT64:
            raise syntax(f"Out of range: near `{word.decode()}'")
        return value

    def listed(self, one) -> list:
        """`one`, and more of them behind commas."""
        found = [one()]
        while self.take(b","):
            found.append(one())
        return found


def number(word: bytes) -> int | float:
    if word[:2] in (b"0x", b"0X"):
        return int(word, 16)
    if word.isdigit():
        return int(word, 8) if len(word) > 1 and word[:1] == b"0" else int(word)
    return float(word)
