"""Whatever goes wrong becomes a document, in OpenAI's shape but below /v1/messages; nothing internal is told to a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Scope

from audit.errors import AuditError
from gateway import logs
from gateway.dialects.messages import failures as anthropic
from gateway.dialects.request import Dialect
from gateway.errors import GatewayError, LogDown, error_body
from gateway.http.identity import request_id
from gateway.metrics.traffic import dialect_of

_log = structlog.get_logger(__name__)
JSON = "application/json"


def of_gateway(_: Request[Any, Any, Any], error: GatewayError) -> Response[bytes]:
    """Our own errors know their status, body and headers."""
    return Response(error.body(), status_code=error.status, media_type=JSON, headers=error.headers())


def of_log(request: Request[Any, Any, Any], error: AuditError) -> Response[bytes]:
    """A log that cannot commit closes admission."""
    logs.unavailable(error)
    return of_gateway(request, LogDown("the audit log cannot commit, so no request can be served; try again later"))


def of_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Unknown paths, wrong methods, bodies over the limit, parameters of another type."""
    detail, param = error.detail, None
    if error.status_code == 404:
        detail = "no such address; the API is described at /api/openapi.json"
    elif isinstance(error, ValidationException) and isinstance(error.extra, list):
        wrong: dict[str, str] = error.extra[0]
        param = wrong["key"]
        detail = f"the parameter {param!r} is wrong: {wrong['message']}"
    body = body_at(request.scope, error.status_code, detail, param)
    return Response(body, status_code=error.status_code, media_type=JSON, headers=error.headers or {})


def body_at(scope: Scope, status: int, message: str, param: str | None = None) -> bytes:
    """What is said of a request that no handler has seen, in the shape that clients of its address read."""
    if dialect_of(scope["path"]) == Dialect.MESSAGES:
        return anthropic.error_body(status, message, request_id(scope))
    kind = "invalid_request_error" if status < 500 else "server_error"
    return error_body(message, kind=kind, param=param, code=None)


def of_anything(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A defect: the log has the details, the client has the request id in its headers."""
    _log.error("request.failed", exc_info=error)
    body = error_body("internal error; quote the x-request-id header", kind="server_error", param=None, code=None)
    return Response(body, status_code=500, media_type=JSON)


HANDLERS: dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]] = {
    GatewayError: of_gateway,
    AuditError: of_log,
    HTTPException: of_framework,
    Exception: of_anything,
}
