"""The outermost layer: every request gets an id, every answer carries it, and one line of log says how it went.

The id is a UUIDv7 and, for a chat request, also the id of its generation and of its records. Bodies, keys and query
strings are never logged.
"""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from audit.header import uuid7

STATE: Final = "request_id"
_log = structlog.get_logger(__name__)


def request_id(scope: Scope) -> UUID:
    """The id that `Identity` gave to this request."""
    found = scope["state"][STATE]
    if not isinstance(found, UUID):
        raise TypeError("the request did not pass gateway.http.identity")
    return found


class Identity:
    """ASGI middleware around the whole application, unrouted paths included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        own, started, status = uuid7(), time.perf_counter(), 0
        scope.setdefault("state", {})[STATE] = own
        text = str(own).encode()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", text), (b"request-id", text)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            _log.info(
                "http.request",
                request_id=str(own),
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=milliseconds,
            )
