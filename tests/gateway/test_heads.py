"""Laws of a connection's heads: one that ends is served, one that does not is given up before it fills the memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.http import heads
from gateway.http.heads import AHEAD_MOST, FIELDS_MOST, HEAD_MOST, Connection

PIECE = 16 * 1024
ENDLESS = (b"a" * PIECE, b"a: b\r\n" * (PIECE // 6))
"""One field of any length, or any number of short ones."""


async def counted(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the length of the body and the number of headers."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = f"{length} {len(scope['headers'])}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


async def streamed(scope: Any, receive: Any, send: Any) -> None:
    """Answers in two pieces, whose length it does not say."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
    await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": False})


@asynccontextmanager
async def served(app: Any = counted) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is read as the gateway reads its own."""
    config, state = uvicorn.Config(app, log_config=None, access_log=False), ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer
        writer.close()


async def taken(writer: asyncio.StreamWriter, field: bytes, ended: Callable[[], object]) -> int:
    """How many bytes of fields without an end are taken until it has `ended`, or the connection is cut."""
    sent = 0
    with suppress(ConnectionError):
        while sent < 64 * HEAD_MOST and not ended():
            writer.write(field)
            await writer.drain()
            sent += len(field)
            await asyncio.sleep(0)
    return sent


async def test_a_head_that_does_not_end_is_refused() -> None:
    """Whether it is one header or many: a 400 comes after no more than a few reads, and the connection is closed."""
    for header in ENDLESS:
        async with served() as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nx: ")
            answered = lambda: reader.at_eof() or reader._buffer  # type: ignore[attr-defined]  # noqa: E731
            assert await taken(writer, header, answered) < 32 * HEAD_MOST
            assert (await reader.read(16)).startswith(b"HTTP/1.1 400 ")


async def test_a_head_has_no_more_fields_than_anybody_means() -> None:
    """Up to a bound it is served; with more, however short, it is refused before it has ended."""
    begun = b"GET / HTTP/1.1\r\n" + b"a:\r\n" * FIELDS_MOST
    for rest, told in ((b"\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n", b" 200 "), (b"a:\r\na:\r\n", b" 400 ")):
        async with served() as (reader, writer), asyncio.timeout(30):
            writer.write(begun + rest)
            assert (await reader.read()).startswith(b"HTTP/1.1" + told)


async def test_fields_behind_a_body_are_no_headers_and_do_not_fill_the_memory() -> None:
    """They are passed over; those that do not end are refused as a head is, also after the request was answered."""
    begun = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    async with served() as (reader, writer):
        writer.write(begun + b"authorization: x\r\nx: y\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        told = (await reader.read()).split(b"HTTP/1.1 200 ")[1:]
        assert [each.rpartition(b"\r\n\r\n")[2] for each in told] == [b"3 2", b"0 1"]
    for app in (counted, streamed):
        for field in ENDLESS:
            async with served(app) as (reader, writer):
                writer.write(begun + b"x: ")
                assert await taken(writer, field, reader.at_eof) < 32 * HEAD_MOST


async def test_no_more_requests_are_sent_ahead_than_anybody_means() -> None:
    """Those that come first are answered in their turn, and a flood behind them ends the connection, without a word."""
    ask, last = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"
    for sent in (ask * AHEAD_MOST + last, ask * 10 * AHEAD_MOST):
        async with served() as (reader, writer), asyncio.timeout(30):
            writer.write(sent)
            answer = await reader.read()
            assert answer.count(b"HTTP/1.1 200 ") == answer.count(b"HTTP/1.1 ") == AHEAD_MOST + 1


@pytest.mark.parametrize("begun", [b"", b"GET /", b"POST / HTTP/1.1\r\ncontent-length: 999\r\n\r\n"])
async def test_nobody_is_waited_for_for_ever(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is not whole in time loses the connection, however it drips, and also once it was answered."""
    monkeypatch.setattr(heads, "REQUEST_SECONDS", 0.4)
    for app in (counted, streamed):  # which answers before it has read anything
        async with served(app) as (reader, writer), asyncio.timeout(10):
            writer.write(begun)
            with suppress(ConnectionError):
                while not reader.at_eof():
                    await asyncio.sleep(0.05)
                    writer.write(b"a" * bool(begun))
                    await writer.drain()
                    if reader._buffer:  # type: ignore[attr-defined]  # looked at, so that the end is seen
                        await reader.read(1 << 16)


async def test_a_whole_request_has_all_the_time_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is on the client's part; its next request has as long as its first."""
    monkeypatch.setattr(heads, "REQUEST_SECONDS", 0.4)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.8)
        await counted(scope, receive, send)

    async with served(slow) as (reader, writer), asyncio.timeout(10):
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(3) == b"3 1"


async def test_more_clients_than_files_allow_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log and the database keep theirs; who was there is served, and so is who comes once another has left."""
    monkeypatch.setattr(Connection, "most", 2)
    config, state = uvicorn.Config(counted, log_config=None, access_log=False), ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        place = server.sockets[0].getsockname()
        first, second = [await asyncio.open_connection(*place) for _ in range(2)]
        third = await asyncio.open_connection(*place)
        with suppress(ConnectionError):
            assert await third[0].read() == b""
        first[1].close()
        await asyncio.sleep(0.1)
        for reader, writer in (second, await asyncio.open_connection(*place)):
            writer.write(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
        third[1].close()


async def test_every_request_of_a_connection_hears_that_its_client_left() -> None:
    """Also one behind which another had been sent already."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (message := await receive())["type"] != "http.disconnect":
            asked.set()
            if not message.get("more_body"):  # like an event stream: a sign of life, which finds out that nobody is there
                for _ in range(20):
                    await send({"type": "http.response.body", "body": b"here", "more_body": True})
                    await asyncio.sleep(0.05)
        left.set()

    async with served(patient) as (_, writer), asyncio.timeout(30):
        writer.write(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n")
        await asked.wait()
        writer.close()
        await left.wait()


async def test_a_head_in_many_pieces_is_read_to_its_end() -> None:
    """What ends within the bound is served, however it is cut, and bytes of bodies are not counted as a head's."""
    async with served() as (reader, writer):
        for _ in range(3):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n")
            for number in range(100):
                writer.write(f"x-{number}: {'a' * 1000}\r\n".encode())
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(b"\r\n" + bytes(1_000_000))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(len(b"1000000 102")) == b"1000000 102"


@pytest.mark.parametrize(
    "offer", [b"upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk", b"Upgrade\r\nUpgrade: websocket"]
)
@pytest.mark.parametrize("size", [1, 7, 60, 1 << 16])
async def test_an_offer_of_another_protocol_is_passed_over(offer: bytes, size: int) -> None:
    """Java's own client and `curl --http2` offer one with their bodies: each is read whole, and never as a request."""
    hidden = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"
    sized = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: %b\r\ncontent-length: %d\r\n\r\n%b" % (offer, len(hidden), hidden)
    chunked = b"POST / HTTP/1.1\r\nconnection: %b\r\ntransfer-encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n" % offer
    bare = b"GET / HTTP/1.1\r\nconnection: %b\r\n\r\n" % offer
    lengths = (len(hidden), 5, 0, len(hidden))
    async with served() as (reader, writer):
        sent = b"".join((sized, chunked, bare, sized))
        for place in range(0, len(sent), size):
            writer.write(sent[place : place + size])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        told = (await reader.read()).split(b"HTTP/1.1 200 ")[1:]
    assert [int(each.rpartition(b"\r\n\r\n")[2].split()[0]) for each in told] == [*lengths, 0]


@pytest.mark.parametrize("more", [b"", b"connection: keep-alive\r\n"])
async def test_an_old_client_gets_no_chunks(more: bytes) -> None:
    """HTTP/1.0 knows none: a stream ends with the connection, a document keeps its length, and newer clients get chunks."""
    for app, told in ((streamed, b"data: 1\n\ndata: 2\n\n"), (counted, b"3 2" if more else b"3 1")):
        async with served(app) as (reader, writer):
            writer.write(b"POST / HTTP/1.0\r\ncontent-length: 3\r\n" + more + b"\r\nabc")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert body == told and b"transfer-encoding" not in head and b"connection: close" in head
            assert (b"content-length: 3" in head) == (app is counted)
    async with served(streamed) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("size", [1, 60, 1 << 16])
async def test_an_offer_for_a_last_request_is_passed_over_too(version: bytes, size: int) -> None:
    """Who offers another protocol and will ask nothing more, as proxies do, is answered, body and all, and let go."""
    sent = b"POST / HTTP/%b\r\nconnection: upgrade, close\r\nupgrade: websocket\r\ncontent-length: 5\r\n\r\nhello" % version
    async with served() as (reader, writer), asyncio.timeout(30):
        for place in range(0, len(sent), size):
            writer.write(sent[place : place + size])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.read()).endswith(b"\r\n\r\n5 2")


@pytest.mark.parametrize("bad", [b"nonsense\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nx\x00: 1\r\n\r\n"])
async def test_what_cannot_be_read_spoils_no_answer(bad: bytes) -> None:
    """Requests before it are answered, each in its place and whole, and the connection ends; alone it is a 400."""
    gate = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        async def late(message: Any) -> None:
            await send(message)
            if message.get("more_body"):
                await gate.wait()

        await streamed(scope, receive, late)

    async with served(slow) as (reader, writer), asyncio.timeout(30):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 2 + bad)
        await writer.drain()
        await asyncio.sleep(0.1)
        gate.set()
        told = await reader.read()
        assert told.count(b"HTTP/1.1 200 ") == 2 and b"400" not in told and told.endswith(b"\r\n0\r\n\r\n")
    async with served() as (reader, writer), asyncio.timeout(30):
        writer.write(bad)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_cannot_be_read_is_refused() -> None:
    """A request whose own body breaks off in nonsense gets a 400, and waits for no more."""
    async with served() as (reader, writer), asyncio.timeout(30):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


async def test_a_tunnel_is_refused() -> None:
    """CONNECT leads nowhere here."""
    async with served() as (reader, writer):
        writer.write(b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\nhello")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
