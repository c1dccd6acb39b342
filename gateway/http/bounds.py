"""Which addresses and cookies are read at all: an ASGI layer before the framework, which keeps what it has read of either.

It remembers the last thousand paths, queries and cookies, so that a flood of long ones would fill the memory. And a request
names its host as RFC 9112 has it (3.2), once and with HTTP/1.1 always: two that read it differently would not mean the same
address.
"""

from __future__ import annotations

import re
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.http.failures import body_at
from gateway.http.identity import PATH_MOST

_HOST: Final = re.compile(rb"(?:\[[\w:.%~-]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
"""`uri-host [":" port]` of RFC 9110, 7.2, with the names of zones that some clients leave in IPv6 addresses."""
BYTES_MOST: Final = 16 * 1024
PARTS_MOST: Final = 200


class Bounded:
    """The application, for requests whose host, path, query and cookies are what somebody could mean."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == ScopeType.HTTP:
            if not _names_host(scope):
                await _refuse(scope, send, 400, "a request has one Host header, with the name or address that it is sent to")
                return
            if len(scope["path"]) > PATH_MOST or _over(scope["query_string"], b"&"):
                await _refuse(scope, send, 414, "this address is too long")
                return
            if _over(b";".join(value for name, value in scope["headers"] if name == b"cookie"), b";"):
                await _refuse(scope, send, 431, "there are too many cookies: clear those of this site")
                return
        await self._app(scope, receive, send)


def _over(text: bytes, between: bytes) -> bool:
    return len(text) > BYTES_MOST or text.count(between) >= PARTS_MOST


def _names_host(scope: Scope) -> bool:
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return len(hosts) < 2 and all(map(_HOST.fullmatch, hosts)) and (bool(hosts) or scope["http_version"] == "1.0")


async def _refuse(scope: Scope, send: Send, status: int, message: str) -> None:
    body = body_at(scope, status, message)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
