"""What a test wants the server to be like: files in its folder, looked at with every call; see server.py."""

from pathlib import Path

import grpc
from convert import Refused
from faults import Faults

VERSION = "1.17.0"
CONDITIONAL_SINCE = (1, 16)


def status(code: int, message: str) -> Refused:
    return Refused(next(known for known in grpc.StatusCode if known.value[0] == code), message)


class Wishes(grpc.ServerInterceptor):
    def __init__(self, folder: Path):
        self.folder = folder
        self.faults = Faults(folder / "faults", status)

    def text(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text().strip() if path.exists() else None

    def version(self) -> str:
        return self.text("version") or VERSION

    def is_conditional(self) -> bool:
        return tuple(map(int, self.version().split(".")[:2])) >= CONDITIONAL_SINCE

    def refuse_poison(self, points) -> None:
        """Before the first of them is written."""
        poison = self.text("poison")
        for point in points if poison else ():
            if any(poison in value.string_value for value in point.payload.values()):
                raise status(3, "Wrong input: the payload has what a test calls poison")

    def intercept_service(self, continuation, details):
        key = self.text("key")
        given = dict(details.invocation_metadata).get("api-key")
        if key is None or given == key:
            return continuation(details)

        def refuse(request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key or an Authorization bearer token")

        return grpc.unary_unary_rpc_method_handler(refuse)
