"""Clients that leave before they have everything: whoever makes their answer hears of it at once, in every dialect.

An answer is told that its client has gone also when it has reached its end, which changes nothing then. So nothing depends on
how far a stream has come: one whose first event nobody waited for, or whose reader takes nothing more, ends like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar

from litestar import Request
from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.errors import EngineDown

T = TypeVar("T")
HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
Leave = Callable[[], None]
"""Tells whoever makes the answer that nobody waits for it."""


async def collected(request: Request[Any, Any, Any], leave: Leave, whole: Coroutine[Any, Any, T]) -> T:
    """What `whole` makes of the answer, unless the client leaves first. Raises the error that ended the answer."""
    answer = asyncio.ensure_future(whole)
    gone = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise EngineDown("the client left before its answer was whole")
        return answer.result()
    finally:
        leave()
        gone.cancel()
        answer.cancel()


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    """Returns when the client has closed the connection; the body has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Stream):
    """Server-sent events."""

    def __init__(self, events: AsyncGenerator[bytes, None], leave: Leave, headers: dict[str, str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers=headers | HEADERS)
        self._events, self._leave = events, leave

    def to_asgi_response(self, *given: Any, **named: Any) -> ASGIApp:  # type: ignore[override]  # Litestar calls what it returns
        """The application that sends it."""
        response = super().to_asgi_response(*given, **named)

        async def send_events(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                async with aclosing(self._events):
                    await response(scope, receive, send)
            finally:
                self._leave()

        return send_events
