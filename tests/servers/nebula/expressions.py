"""Values in INSERT, and the expressions of YIELD, RETURN and WHERE.

An expression is parsed into a function of its surroundings: a dictionary of what its names stand for (`vertex`, `edge`, a tag,
an edge type, a variable of MATCH).
"""

import operator

import values
from lexer import INT64, Cursor, number, unescape
from refusal import execution, semantic, syntax
from values import EMPTY, Edge, Vertex

CONVERSIONS = {b"DATE": values.date, b"DATETIME": values.datetime, b"TIME": values.time, b"TIMESTAMP": values.timestamp}
COMPARE = {b"==": operator.eq, b"!=": operator.ne, b"<>": operator.ne, b"<": operator.lt, b"<=": operator.le, b">": operator.gt, b">=": operator.ge}
COUNT = "count(*)"


def constant(cursor: Cursor, parameters: dict):
    """A literal, a parameter, or date("…") and its like: what may stand as a property's value."""
    word = cursor.next()
    first = word[:1]
    if first in b"\"'" and len(word) > 1:
        return unescape(word)
    if first.isdigit() or first == b"." and len(word) > 1:
        return within(number(word), word)
    if first == b"-":
        word = cursor.next()
        if not word[:1].isdigit() and word[:1] != b".":
            raise cursor.wrong()
        return within(-number(word), word)
    if first == b"$":
        name = word[1:]
        if name not in parameters:
            raise syntax(f"Direct output of variable is prohibited near `{word.decode()}'")
        return parameters[name]
    upper = word.upper()
    if upper == b"TRUE":
        return True
    if upper == b"FALSE":
        return False
    if upper == b"NULL":
        return None
    if upper in CONVERSIONS and cursor.take(b"("):
        given = constant(cursor, parameters)
        cursor.need(b")")
        value = CONVERSIONS[upper](given) if type(given) is bytes or upper == b"TIMESTAMP" and type(given) is int else None
        if value is None:
            shown = given.decode("utf-8", "replace") if type(given) is bytes else given
            raise execution(f'Wrong value type: {upper.decode().lower()}("{shown}")')
        return value
    cursor.at -= 1
    raise cursor.wrong()


def within(value, word: bytes):
    if type(value) is int and value not in INT64:
        raise syntax(f"Out of range: near `{word.decode()}'")
    return value


class Expression:
    """`evaluate(names)`; `text` is what a column is called that has no alias."""

    def __init__(self, evaluate, text: str):
        self.evaluate = evaluate
        self.text = text


def column(cursor: Cursor, parameters: dict) -> tuple[Expression, str]:
    found = expression(cursor, parameters)
    if not cursor.take(b"AS"):
        return found, found.text
    word = cursor.peek()
    # After AS a keyword may stand as a name.
    if word[:1].isalpha():
        cursor.at += 1
        return found, word.decode()
    return found, cursor.name()


def expression(cursor: Cursor, parameters: dict) -> Expression:
    left = conjunction(cursor, parameters)
    while cursor.take(b"OR"):
        left = both(left, conjunction(cursor, parameters), lambda a, b: bool(a) or bool(b), "OR")
    return left


def conjunction(cursor, parameters) -> Expression:
    left = negation(cursor, parameters)
    while cursor.take(b"AND"):
        left = both(left, negation(cursor, parameters), lambda a, b: bool(a) and bool(b), "AND")
    return left


def negation(cursor, parameters) -> Expression:
    if cursor.take(b"NOT") or cursor.take(b"!"):
        inner = negation(cursor, parameters)
        return Expression(lambda names: not inner.evaluate(names), f"!({inner.text})")
    return comparison(cursor, parameters)


def comparison(cursor, parameters) -> Expression:
    left = operand(cursor, parameters)
    if cursor.peek() in COMPARE:
        sign = cursor.next()
        return both(left, operand(cursor, parameters), null_safe(COMPARE[sign]), sign.decode())
    if cursor.take(b"IN"):
        right = operand(cursor, parameters)
        return both(left, right, lambda a, b: a in b, "IN")
    if cursor.take(b"IS", b"NOT", b"NULL"):
        return Expression(lambda names: left.evaluate(names) is not None, f"{left.text} IS NOT NULL")
    if cursor.take(b"IS", b"NULL"):
        return Expression(lambda names: left.evaluate(names) is None, f"{left.text} IS NULL")
    return left


def both(left: Expression, right: Expression, how, sign: str) -> Expression:
    return Expression(lambda names: how(left.evaluate(names), right.evaluate(names)), f"({left.text} {sign} {right.text})")


def null_safe(compare):
    def compared(a, b):
        if a is None or b is None:
            return None
        try:
            return compare(a, b)
        except TypeError:
            return None

    return compared


def operand(cursor, parameters) -> Expression:
    word = cursor.peek()
    if cursor.take(b"("):
        inner = expression(cursor, parameters)
        cursor.need(b")")
        return members(cursor, inner)
    if cursor.take(b"["):
        parts = [] if cursor.is_word(b"]") else cursor.listed(lambda: expression(cursor, parameters))
        cursor.need(b"]")
        text = "[" + ",".join(part.text for part in parts) + "]"
        return Expression(lambda names: [part.evaluate(names) for part in parts], text)
    following = cursor.words[cursor.at + 1] if cursor.at + 1 < len(cursor.words) else b""
    if word[:1].isalpha() and following == b"(" and word.upper() not in CONVERSIONS:
        return members(cursor, function(cursor, parameters))
    if word[:1] == b"`" or (word[:1].isalpha() or word[:1] == b"_") and word.upper() not in (b"TRUE", b"FALSE", b"NULL", *CONVERSIONS):
        if word.upper() in (b"VERTEX", b"EDGE"):
            cursor.at += 1
            name = word.decode().lower()
        else:
            name = cursor.name()
        return members(cursor, Expression(lambda names: named(names, name), name))
    start = cursor.at
    value = constant(cursor, parameters)
    text = b"".join(cursor.words[start : cursor.at]).decode("utf-8", "replace")
    return Expression(lambda names: value, text)


def named(names: dict, name: str):
    if name not in names:
        raise semantic(f"Alias used but not defined: `{name}'")
    return names[name]


def members(cursor, inner: Expression) -> Expression:
    while cursor.take(b"."):
        inner = member(inner, cursor.name())
    return inner


def member(inner: Expression, name: str) -> Expression:
    def evaluate(names):
        value = inner.evaluate(names)
        if isinstance(value, Edge):
            implied = {"_src": value.src, "_dst": value.dst, "_rank": value.rank, "_type": value.kind_id}
            return implied[name] if name in implied else value.props.get(name)
        if isinstance(value, Vertex):
            return value.tags.get(name, EMPTY)
        if isinstance(value, dict):
            return value.get(name)
        return EMPTY if value is EMPTY else None

    return Expression(evaluate, f"{inner.text}.{name}")


def function(cursor, parameters) -> Expression:
    name = cursor.next().decode().lower()
    cursor.need(b"(")
    if name == "count" and cursor.take(b"*"):
        cursor.need(b")")
        return Expression(None, COUNT)
    argument = expression(cursor, parameters)
    cursor.need(b")")
    if name not in FUNCTIONS:
        raise syntax(f"Unknown function near `{name}' (the stand-in knows: {', '.join(FUNCTIONS)})")
    return Expression(lambda names: FUNCTIONS[name](argument.evaluate(names)), f"{name}({argument.text})")


def properties(value):
    if isinstance(value, Edge):
        return value.props
    if isinstance(value, Vertex):
        return {name: cell for props in value.tags.values() for name, cell in props.items()}
    return value if isinstance(value, dict) else None


FUNCTIONS = {
    "id": lambda vertex: vertex.vid,
    "tags": lambda vertex: [name.encode() for name in vertex.tags],
    "properties": properties,
    "src": lambda edge: edge.src,
    "dst": lambda edge: edge.dst,
    "rank": lambda edge: edge.rank,
    "type": lambda edge: edge.kind.encode(),
}
