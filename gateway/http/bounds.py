"""How much of an address and of cookies is read: an ASGI layer before the framework, which keeps what it has read of either.

It remembers the last thousand paths, queries and cookies, so that a flood of long ones would fill the memory.
"""

from __future__ import annotations

from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.errors import error_body

BYTES_MOST: Final = 16 * 1024
PARTS_MOST: Final = 200
PATH_MOST: Final = 1024
"""Characters; each may take four bytes, and each path is remembered in several copies."""


class Bounded:
    """The application, for requests whose path, query and cookies are of a length that somebody could mean."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == ScopeType.HTTP:
            if len(scope["path"]) > PATH_MOST or _over(scope["query_string"], b"&"):
                await _refuse(send, 414, "this address is too long")
                return
            if _over(b";".join(value for name, value in scope["headers"] if name == b"cookie"), b";"):
                await _refuse(send, 431, "there are too many cookies: clear those of this site")
                return
        await self._app(scope, receive, send)


def _over(text: bytes, between: bytes) -> bool:
    return len(text) > BYTES_MOST or text.count(between) >= PARTS_MOST


async def _refuse(send: Send, status: int, message: str) -> None:
    body = error_body(message, kind="invalid_request_error", param=None, code=None)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
