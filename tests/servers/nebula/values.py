"""Nebula's values: as Python values inside the stand-in, as the official types on the wire, and checked against a column's type.

Null is None, text is bytes, a date is `("date", year, month, day)`, a time of day and a date-time likewise with their parts.
"""

import math
import re
from datetime import date as calendar_date
from datetime import datetime as calendar_datetime
from datetime import timezone

from nebula3.common import ttypes as wire

from refusal import NOT_NULLABLE, OUT_OF_RANGE, TYPE_MISMATCH, storage

INT_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
# The last second that the server's time stamps can hold.
TIMESTAMP_MAX = 9223372036
EMPTY = object()


class Vertex:
    def __init__(self, vid, tags: dict[str, dict]):
        self.vid = vid
        self.tags = tags


class Edge:
    def __init__(self, src, dst, kind: str, kind_id: int, rank: int, props: dict):
        self.src, self.dst, self.kind, self.kind_id, self.rank, self.props = src, dst, kind, kind_id, rank, props


def from_wire(value: wire.Value):
    """A parameter's value."""
    kind, inner = value.getType(), value.value
    if kind == wire.Value.NVAL:
        return None
    if kind in (wire.Value.BVAL, wire.Value.IVAL, wire.Value.FVAL, wire.Value.SVAL):
        return inner
    if kind == wire.Value.DVAL:
        return ("date", inner.year, inner.month, inner.day)
    if kind == wire.Value.TVAL:
        return ("time", inner.hour, inner.minute, inner.sec, inner.microsec)
    if kind == wire.Value.DTVAL:
        return ("datetime", inner.year, inner.month, inner.day, inner.hour, inner.minute, inner.sec, inner.microsec)
    if kind == wire.Value.LVAL:
        return [from_wire(one) for one in inner.values]
    if kind == wire.Value.MVAL:
        return {key.decode(): from_wire(one) for key, one in inner.kvs.items()}
    return EMPTY


def to_wire(value) -> wire.Value:
    if value is None:
        return wire.Value(nVal=wire.NullType.__NULL__)
    if value is EMPTY:
        return wire.Value()
    match value:
        case bool():
            return wire.Value(bVal=value)
        case int():
            return wire.Value(iVal=value)
        case float():
            return wire.Value(fVal=value)
        case bytes():
            return wire.Value(sVal=value)
        case str():
            return wire.Value(sVal=value.encode())
        case ("date", *parts):
            return wire.Value(dVal=wire.Date(*parts))
        case ("time", *parts):
            return wire.Value(tVal=wire.Time(*parts))
        case ("datetime", *parts):
            return wire.Value(dtVal=wire.DateTime(*parts))
        case list():
            return wire.Value(lVal=wire.NList(values=[to_wire(one) for one in value]))
        case dict():
            return wire.Value(mVal=wire.NMap(kvs={key.encode(): to_wire(one) for key, one in value.items()}))
        case Vertex():
            tags = [wire.Tag(name=name.encode(), props=props_to_wire(props)) for name, props in value.tags.items()]
            return wire.Value(vVal=wire.Vertex(vid=to_wire(value.vid), tags=tags))
        case Edge():
            props = props_to_wire(value.props)
            edge = wire.Edge(to_wire(value.src), to_wire(value.dst), value.kind_id, value.kind.encode(), value.rank, props)
            return wire.Value(eVal=edge)
    raise TypeError(f"no wire form for {value!r}")


def props_to_wire(props: dict) -> dict:
    return {name.encode(): to_wire(value) for name, value in props.items()}


def as_stored(value, field):
    """What a storage node keeps of a value in that column; refuses as its row writer does, lenient where that is lenient."""
    kind = field.type
    if value is None:
        if not field.nullable:
            raise storage(NOT_NULLABLE)
        return None
    if type(value) is bytes:
        if kind == "string":
            return value
        if kind == "fixed_string":
            return cut(value, field.length)
    elif type(value) is int:
        if kind in INT_BITS:
            limit = 1 << (INT_BITS[kind] - 1)
            if not -limit <= value < limit:
                raise storage(OUT_OF_RANGE)
            return value
        if kind in ("float", "double"):
            return float(value)
        if kind == "timestamp":
            if not 0 <= value <= TIMESTAMP_MAX:
                raise storage(OUT_OF_RANGE)
            return value
        if kind == "bool":
            return value != 0
    elif type(value) is bool:
        if kind == "bool":
            return value
        if kind in INT_BITS:
            return int(value)
    elif type(value) is float:
        if kind == "double":
            return value
        if kind == "float":
            if math.isfinite(value) and abs(value) > 3.4028234663852886e38:
                raise storage(OUT_OF_RANGE)
            return value
        if kind in INT_BITS:
            return as_stored(int(value), field)
    elif type(value) is tuple and value[0] == kind:
        return value
    raise storage(TYPE_MISMATCH)


def cut(text: bytes, length: int) -> bytes:
    """A FIXED_STRING keeps what fits, up to the end of a character, and says nothing."""
    if len(text) <= length:
        return text
    while length > 0 and text[length] & 0xC0 == 0x80:
        length -= 1
    return text[:length]


def date(text: bytes):
    found = re.fullmatch(rb"(-?\d{1,5})-(\d{1,2})-(\d{1,2})", text)
    if not found:
        return None
    parts = tuple(map(int, found.groups()))
    return ("date", *parts) if real_day(*parts) else None


def datetime(text: bytes):
    found = re.fullmatch(rb"(-?\d{1,5})-(\d{1,2})-(\d{1,2})[T ](\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6}))?(?:Z|\+00:00)?", text)
    if not found:
        return None
    *parts, fraction = found.groups()
    parts = list(map(int, parts))
    if not real_day(*parts[:3]) or parts[3] > 23 or parts[4] > 59 or parts[5] > 59:
        return None
    return ("datetime", *parts, int((fraction or b"0").ljust(6, b"0")))


def time(text: bytes):
    found = re.fullmatch(rb"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6}))?", text)
    if not found:
        return None
    *parts, fraction = found.groups()
    parts = list(map(int, parts))
    if parts[0] > 23 or parts[1] > 59 or parts[2] > 59:
        return None
    return ("time", *parts, int((fraction or b"0").ljust(6, b"0")))


def timestamp(value):
    if type(value) is int:
        return value if 0 <= value <= TIMESTAMP_MAX else None
    moment = datetime(value)
    if moment is None or moment[1] < 1970:
        return None
    return int(calendar_datetime(*moment[1:7], tzinfo=timezone.utc).timestamp())


def real_day(year: int, month: int, day: int) -> bool:
    # The calendar library begins with the year 1; Nebula's leap years before it repeat alike.
    try:
        calendar_date(year if 1 <= year <= 9999 else 2000 + year % 400, month, day)
    except ValueError:
        return False
    return -32768 <= year <= 32767
