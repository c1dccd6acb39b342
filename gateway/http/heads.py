"""A client's connection whose request heads come to an end: what reads them for us takes one of any length and keeps it.

It also takes a request that offers another protocol for one without a body: Java's own client and `curl --http2` send such, and
their bodies would be lost, or read as requests. Nothing but HTTP/1.1 is spoken here, so the offer is passed over.

And it sends chunks to whoever asks by HTTP/1.0, who would take their lengths for text: what has no length of its own ends for
those with the connection.

Fields behind a body are kept like those of its head, also of a request that was answered long ago: here they are passed over.
Of requests that are sent ahead any number is kept, and the newest alone is told that its client has left. Its refusal of bytes
that are no request comes before or within the answers to those before them, and is read as one of these: here they are answered
first, and the connection ends.

It waits for a request as long as its client likes, and takes clients until the process can open no file more, its log neither.
"""

from __future__ import annotations

import asyncio
import resource
from array import array
from typing import Any, Final

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_MOST: Final = 256 * 1024
"""Bytes that may come before a head, or the fields behind a body, end. What comes with an end is not counted, for there a body
may have begun.
"""
FIELDS_MOST: Final = 256
"""Fields of a head: kept, each takes some thirty times the bytes that it is sent in."""
REQUEST_SECONDS: Final = 130
"""In which a request has to be there, its body too; so long may a connection be idle. That is longer than clients and proxies
keep one (Caddy two minutes, Go 90 s, load balancers 60): who asks must be who ends it, since a request that meets its end is
lost, and nobody repeats a POST for its client.
"""
FILES_KEPT: Final = 256
"""Of the files that this process may open: for its log, database and keys, whoever comes."""
AHEAD_MOST: Final = 64
"""Requests that may wait behind the one that is served: one read can hold fourteen thousand, which take kilobytes each."""


def clients_most() -> int:
    """How many may be connected at once."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(files - FILES_KEPT, files // 2) if files != resource.RLIM_INFINITY else 1 << 20


class Connection(HttpToolsProtocol):
    """Reads requests in C. A head that does not end gets a 400 and loses the connection."""

    most = clients_most()
    _late: asyncio.TimerHandle | None = None
    _open = False
    _came = 0
    _in_head = False
    _spoilt = False
    _served: RequestResponseCycle | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.begin()

    def begin(self) -> _Parser:
        """Read on by a fresh parser: one that has read `close`, or HTTP/1.0, reads nothing more."""
        self.parser = _Parser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as the base has it
        return self.parser

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base has it
        """A client comes: it is let in where a file is left, and for as long as its first request may take."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self.logger.warning("More clients are connected than open files allow; one was turned away.")
            transport.abort()
        else:
            self.await_request()

    def await_request(self) -> None:
        """From now on the client has so long for its next request."""
        self.request_came()
        self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def request_came(self) -> None:
        """It is whole, or nobody waits for it any more."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def on_response_complete(self) -> None:
        """An answer has ended; what is left of its request, and the next one, may take as long again."""
        super().on_response_complete()
        if self.cycle.more_body or self.cycle.response_complete:
            self.await_request()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client's."""
        if self._spoilt:
            return
        super().data_received(data)
        if self._open:
            self._came += len(data)
            if self._came > HEAD_MOST:
                self._open = False
                self.send_400_response("The head of this request is too long.")

    def send_400_response(self, msg: str) -> None:
        """The client has sent what cannot be read: nothing more is, and this is said unless there are answers to come.

        In the middle of an answer it would be a part of that: there the connection just ends.
        """
        self._spoilt = True
        newest: RequestResponseCycle | None = self.cycle
        if newest is not None and not newest.response_complete and not newest.more_body:
            newest.keep_alive = False
        elif self._served is None or self._served.response_complete or not self._served.response_started:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins. What is raised here is a 400."""
        if len(self.pipeline) >= AHEAD_MOST:
            raise httptools.HttpParserError("too many requests are sent ahead")
        super().on_message_begin()
        self._open, self._came, self._in_head = True, 0, True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; nobody here asks for one behind the body."""
        if not self._in_head:
            return
        if len(self.headers) >= FIELDS_MOST:
            raise httptools.HttpParserError("too many fields")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """It has ended; a body follows, if any."""
        self._open = self._in_head = False
        if not self.offers():
            super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """A piece of the body begins or, after the last, the fields behind it."""
        self._open, self._came = True, 0

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._open = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._open = False
        if not self.offers():
            if not self.cycle.response_complete:
                self.request_came()
            super().on_message_complete()

    def offers(self) -> bool:
        """Whether the head that has just been read offers to leave HTTP. A tunnel is no offer: it is refused."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def plain_head(self) -> bytes:
        """The head that has just been read, without its offer of another protocol."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left. The base tells the newest request, which another may be served before."""
        super().connection_lost(exc)
        self.request_came()
        if self._served is not None and not self._served.response_complete:
            self._served.disconnected = True
            self._served.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, _unframed(cycle, app) if cycle.scope["http_version"] == "1.0" else app)


def _unframed(cycle: RequestResponseCycle, app: ASGI3Application) -> ASGI3Application:
    """The application, whose answers without a length go out as they are."""

    async def serve(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        sized = False

        async def send_plain(message: ASGISendEvent) -> None:
            nonlocal sized
            if message["type"] == "http.response.start":
                sized = any(name == b"content-length" for name, _ in message["headers"])
                cycle.chunked_encoding = None if sized else False
            elif message["type"] == "http.response.body" and not sized:
                cycle.expected_content_length = len(message["body"])
            await send(message)

        await app(scope, receive, send_plain)

    return serve


class _Parser(httptools.HttpRequestParser):
    """Reads a request that offers another protocol as if it did not."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection

    def feed_data(self, data: bytes | bytearray | memoryview[int] | array[int]) -> None:
        parser, rest = self, memoryview(data)
        while rest:
            try:
                super(_Parser, parser).feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                if not self._connection.offers():
                    raise
                rest, head = rest[offer.args[0] :], self._connection.plain_head()
                parser = self._connection.begin()
                super(_Parser, parser).feed_data(head)
