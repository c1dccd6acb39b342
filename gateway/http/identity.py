"""The outermost layer: every request gets an id, every answer carries it, and one line of log says how it went.

The id is a UUIDv7 and, for a chat request, also the id of its generation and of its records. Bodies, keys and query
strings are never logged.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from audit.header import uuid7
from gateway.metrics.traffic import REFUSAL, Traffic, dialect_of

PATH_MOST: Final = 1024
"""Characters of a path that are read and logged; each may take four bytes, and the framework keeps paths in several copies."""
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

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app, self._traffic = app, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        own, started, status, streams, gone = uuid7(), time.perf_counter(), 0, False, False
        traffic, dialect = self._traffic, dialect_of(scope["path"])
        scope.setdefault("state", {})[STATE] = own
        text = str(own).encode()

        async def receive_or_leave() -> Any:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            return message

        async def send_with_id(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                # Whoever left before is told nothing, and least of all that this was a fault of ours.
                status, streams = 0 if gone else message["status"], _is_stream(message["headers"])
                traffic.streams.add(dialect, by=streams)
                message["headers"] = [*message["headers"], (b"x-request-id", text), (b"request-id", text)]
            await send(message)

        traffic.open += 1
        try:
            await self._app(scope, receive_or_leave, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            traffic.open -= 1
            traffic.streams.add(dialect, by=-streams)
            traffic.ended(dialect, status, scope["state"].get(REFUSAL) if status else None, seconds)
            _log.info(
                "http.request",
                request_id=str(own),
                method=scope["method"],
                path=scope["path"][:PATH_MOST],
                status=status,
                milliseconds=round(seconds * 1000, 1),
            )


def _is_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)
