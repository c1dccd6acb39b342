"""A load generator that costs little: it shares the machine with what it measures, so it does no more than HTTP/1.1 asks for.

Each of its lines is one connection that is kept, and asks again as soon as it has its whole answer. A latency runs from the
first byte of a request to the last of its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final
from urllib.parse import urlsplit

from gateway.bench.errors import BenchError
from gateway.bench.lanes import together

_END: Final = b"\r\n\r\n"
_SAID_MOST: Final = 300


@dataclass(frozen=True, slots=True)
class Door:
    """Where requests go: an `http://` URL with its path, and the headers of each request."""

    url: str
    headers: Mapping[str, str]

    def request(self, body: bytes) -> bytes:
        """The bytes of one POST."""
        place = urlsplit(self.url)
        told = {"host": place.netloc, "content-type": "application/json", "content-length": str(len(body)), **self.headers}
        lines = [f"POST {place.path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
        return "\r\n".join(lines).encode() + _END + body


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: wall seconds from the first request to the last answer, and the latency of each request."""

    seconds: float
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds


class Line(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._whole: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, door: Door) -> Line:
        """A connection to where `door` is. Raises OSError."""
        place = urlsplit(door.url)
        _, line = await asyncio.get_running_loop().create_connection(cls, str(place.hostname), place.port or 80)
        return line

    async def ask(self, request: bytes) -> bytes:
        """The whole answer, head and body as they came. Raises BenchError for any status but 200, and for a lost line."""
        if self._transport is None:
            raise BenchError("the connection is closed")
        self._data.clear()
        self._whole = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        answer = await self._whole
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"a request was not answered: {answer[-_SAID_MOST:].decode(errors='replace')}")
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._data += data
        if self._whole is not None and not self._whole.done() and is_whole(self._data):
            self._whole.set_result(bytes(self._data))

    def connection_lost(self, _: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        if self._whole is not None and not self._whole.done():
            self._whole.set_exception(BenchError("the server hung up in the middle of an answer"))


def is_whole(data: bytes | bytearray) -> bool:
    """Whether these bytes are one whole answer: its length is told, or its last chunk is there."""
    end = data.find(_END)
    if end < 0:
        return False
    head = bytes(data[:end]).lower()
    if b"transfer-encoding: chunked" in head:
        return data.endswith(b"\r\n0" + _END)
    _, found, rest = head.partition(b"content-length:")
    return bool(found) and len(data) >= end + len(_END) + int(rest.partition(b"\r\n")[0])


async def ask_all(door: Door, bodies: Iterable[bytes], concurrency: int) -> Load:
    """Send every body, at most `concurrency` at a time. Raises BenchError when one is not answered."""
    waiting = iter([door.request(body) for body in bodies])
    lines = [await Line.open(door) for _ in range(concurrency)]
    try:
        started = perf_counter()
        async with together() as group:
            tasks = [group.create_task(_ask(line, waiting)) for line in lines]
        return Load(perf_counter() - started, tuple(latency for task in tasks for latency in task.result()))
    except (BenchError, OSError) as error:
        raise _told(error) from error
    finally:
        for line in lines:
            line.close()


async def _ask(line: Line, waiting: Iterator[bytes]) -> list[float]:
    latencies = []
    for request in waiting:
        before = perf_counter()
        await line.ask(request)
        latencies.append(perf_counter() - before)
    return latencies


def _told(error: Exception) -> BenchError:
    return error if isinstance(error, BenchError) else BenchError(f"{type(error).__name__}: {error}")
