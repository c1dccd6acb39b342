"""Errors before the first byte, in OpenAI's shape, with statuses that end a turn of Codex in one request.

Codex sends everything but 400 again, six times (503: thirty). So whatever the same request cannot mend is 400 here; what may be
tried again keeps its status and its `retry-after`.
"""

from __future__ import annotations

from gateway.errors import GatewayError, UnknownModel, error_body


def status_of(error: GatewayError) -> int:
    """The HTTP status of an error in this dialect."""
    final = error.headers().get("x-should-retry") == "false"
    return 400 if final or isinstance(error, UnknownModel) else error.status


def body_of(error: GatewayError) -> bytes:
    """Its document."""
    return error_body(error.message, kind=error.kind, param=error.param, code=error.code)
