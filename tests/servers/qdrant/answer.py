"""One call: its time, and its refusal as a status."""

import functools
import time
import traceback

import grpc
from convert import Refused

# The engine's errors have no type of their own, only a text.
CODES = [
    ("not found", grpc.StatusCode.NOT_FOUND),
    ("doesn't exist", grpc.StatusCode.NOT_FOUND),
    ("does not exist", grpc.StatusCode.NOT_FOUND),
    ("dimension", grpc.StatusCode.INVALID_ARGUMENT),
    ("wrong", grpc.StatusCode.INVALID_ARGUMENT),
    ("invalid", grpc.StatusCode.INVALID_ARGUMENT),
    ("index required", grpc.StatusCode.INVALID_ARGUMENT),
    ("validation", grpc.StatusCode.INVALID_ARGUMENT),
    ("bad request", grpc.StatusCode.INVALID_ARGUMENT),
    ("malformed", grpc.StatusCode.INVALID_ARGUMENT),
]


def writes(method):
    """A call that writes points or payloads, and may be wanted to go wrong."""

    @functools.wraps(method)
    def call(self, request):
        fault = self.wishes.faults.before()
        response = method(self, request)
        if fault:
            raise fault
        return response

    return answer(call)


def answer(method):
    @functools.wraps(method)
    def call(self, request, context):
        start = time.monotonic()
        try:
            response = method(self, request)
            response.time = time.monotonic() - start
            return response
        except Refused as refused:
            code, text = refused.code, str(refused)
        except Exception as error:  # noqa: BLE001  (see CODES)
            text = str(error)
            code = next((code for part, code in CODES if part in text.lower()), grpc.StatusCode.INTERNAL)
            if code is grpc.StatusCode.INTERNAL:
                text = f"Service internal error: {text}\n{traceback.format_exc()}"
        # Not within the `try`: it ends the call by an exception of its own.
        return context.abort(code, text)

    return call
