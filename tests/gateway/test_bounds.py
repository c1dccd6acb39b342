"""Laws of how much of an address and of cookies reaches the framework, which keeps what it has read of either."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from gateway.http import identity
from gateway.http.bounds import BYTES_MOST, PARTS_MOST, Bounded
from gateway.http.identity import PATH_MOST, Identity
from gateway.metrics.meters import Meters
from gateway.metrics.traffic import Traffic


def told(path: str = "/", query: bytes = b"", *cookies: bytes) -> int:
    """The status of a request for this address, 200 if it reached the framework."""
    statuses: list[int] = []

    async def reached(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"host", b"x"), *((b"cookie", cookie) for cookie in cookies)]
    scope: Any = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": path, "query_string": query, "headers": headers
    }  # fmt: skip
    asyncio.run(Identity(Bounded(reached), Traffic(Meters()))(scope, receive, send))
    return statuses[0]


@pytest.mark.parametrize(
    ("just", "more", "status"),
    [
        (("/" * PATH_MOST,), ("/" * (PATH_MOST + 1),), 414),
        (("/", b"a" * BYTES_MOST), ("/", b"a" * (BYTES_MOST + 1)), 414),
        (("/", b"&" * (PARTS_MOST - 1)), ("/", b"&" * PARTS_MOST), 414),
        (("/", b"", b"a" * BYTES_MOST), ("/", b"", b"a" * BYTES_MOST, b""), 431),
    ],
    ids=["path", "query", "parameters", "cookies"],
)
def test_what_nobody_means_stays_outside(just: tuple[Any, ...], more: tuple[Any, ...], status: int) -> None:
    """Up to a bound it is served; beyond it is refused before the framework remembers it."""
    assert (told(*just), told(*more)) == (200, status)


def test_a_line_of_the_log_has_no_more_of_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for long addresses fills no disk with them."""
    monkeypatch.setattr(identity, "_log", structlog.get_logger())  # the module's own may be bound already
    with structlog.testing.capture_logs() as lines:
        told("/" + "x" * 50_000)
    (line,) = lines
    assert line["path"] == "/" + "x" * (PATH_MOST - 1)
