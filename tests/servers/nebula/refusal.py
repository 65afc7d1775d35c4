"""Nebula's refusals: the code, and the text by which alone a client can tell most of them apart."""

BAD_USERNAME_PASSWORD = -1001
SESSION_INVALID = -1002
SYNTAX = -1004
EXECUTION = -1005
STATEMENT_EMPTY = -1006
SEMANTIC = -1009
TOO_MANY_CONNECTIONS = -1010
CLIENT_VERSION = -3061


class Refusal(Exception):
    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


def syntax(text: str) -> Refusal:
    return Refusal(SYNTAX, f"SyntaxError: {text}")


def semantic(text: str) -> Refusal:
    return Refusal(SEMANTIC, f"SemanticError: {text}")


def execution(text: str) -> Refusal:
    return Refusal(EXECUTION, text)


def storage(text: str) -> Refusal:
    return execution(f"Storage Error: {text}")


VID_TOO_LONG = "The VID must be a 64-bit integer or a string fitting space vertex id length limit."
TYPE_MISMATCH = "The data type does not meet the requirements. Use the correct type of data."
NOT_NULLABLE = "The not null field cannot be null."
FIELD_UNSET = "The not null field doesn't have a default value."
OUT_OF_RANGE = "Out of range value."
