"""The load generator: it knows a whole answer when it has one, keeps its connections, and does not count what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bench.errors import BenchError
from gateway.bench.http_load import Door, ask_all, is_whole

TOLD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nlate"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@given(st.sampled_from([TOLD, CHUNKED, REFUSED]), st.data())
def test_an_answer_is_whole_with_its_last_byte(answer: bytes, data: st.DataObject) -> None:
    """No beginning of an answer is one, whether its length is told or it comes in chunks."""
    cut = data.draw(st.integers(0, len(answer) - 1))
    assert is_whole(answer) and not is_whole(answer[:cut])


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Door]:
    """A server that does so with each connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Door(f"http://127.0.0.1:{port}/path", {"authorization": "Bearer k"})
    finally:
        server.close()
        await server.wait_closed()


async def test_every_body_is_sent_once_over_kept_connections() -> None:
    """Each request has its path, headers and body; as many connections as were asked for are opened, and each is kept."""
    seen: list[bytes] = []
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            seen.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2))
            writer.write(CHUNKED[:30])
            await writer.drain()
            writer.write(CHUNKED[30:])

    async with serving(answer) as door:
        load = await ask_all(door, [b"%02d" % number for number in range(20)], 4)
    assert connections == 4 and len(load.latencies) == 20 and all(latency > 0 for latency in load.latencies)
    assert sorted(request[-2:] for request in seen) == [b"%02d" % number for number in range(20)]
    assert all(request.startswith(b"POST /path HTTP/1.1\r\n") and b"Bearer k" in request for request in seen)
    assert load.rate == pytest.approx(20 / load.seconds)


@pytest.mark.parametrize(("said", "message"), [(REFUSED, "late"), (TOLD[:-1], "hung up"), (b"", "hung up")])
async def test_a_request_that_is_not_answered_ends_the_run(said: bytes, message: str) -> None:
    """A refusal, half an answer and none at all are errors, not latencies."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    async with serving(answer) as door:
        with pytest.raises(BenchError, match=message):
            await ask_all(door, [b"x"] * 3, 2)
