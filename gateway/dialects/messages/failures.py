"""Errors in Anthropic's shape, with statuses that end a turn of Claude Code in one request.

A refusal is 409 with `x-should-retry: false`: 400 and 422 are probed again six times with other tools and betas, 403 reads as
a wrong key. What was malformed stays 400, and what may be tried again keeps its status and its `retry-after`.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from gateway.errors import GatewayError, Refused, Withheld

KINDS: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "permission_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}

UNTHREADED: Final = "thread_unsupported_request"
"""The code at which Anthropic's tool runner sends the same conversation whole, told where it looks for one."""


def status_of(error: GatewayError) -> int:
    """The HTTP status of an error in this dialect."""
    stands = error.status in (413, 429)
    return 409 if isinstance(error, Refused | Withheld) and not stands else error.status


def body_of(error: GatewayError, request: UUID) -> bytes:
    """Its document."""
    return error_body(status_of(error), error.message, request, code=UNTHREADED if error.code == UNTHREADED else None)


def error_body(status: int, message: str, request: UUID, *, code: str | None = None) -> bytes:
    """{"type": "error", "error": {"type", "message"}, "request_id"}; a code adds {"details": {"error_code"}} to the error."""
    other = "invalid_request_error" if status < 500 else "api_error"
    error = {"type": KINDS.get(status, other), "message": message}
    details = {} if code is None else {"details": {"error_code": code}}
    return msgspec.json.encode({"type": "error", "error": error | details, "request_id": str(request)})
