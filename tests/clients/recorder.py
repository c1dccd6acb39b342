"""Stands between a client and the gateway, passes every byte on, and keeps both sides of what was said.

It changes nothing, so what the client got is what the gateway sent. A connection serves one request, because an answer that
says no length ends with it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import httpx

from tests.plain import PLAIN

HOP: Final = {"connection", "keep-alive", "transfer-encoding", "host", "content-length", "expect"}
"""Headers of one connection and not of the message."""


@dataclass(slots=True)
class Exchange:
    """One request and its answer, with the answer's bytes in the pieces in which they came; `left`: the client went first."""

    method: str
    path: str
    asked: bytes
    told: dict[str, str]
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    left: bool = False

    @property
    def place(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]

    @property
    def answer(self) -> bytes:
        """The whole answer."""
        return b"".join(self.pieces)

    @property
    def streamed(self) -> bool:
        """Whether it came as events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")


class Recorder:
    """What has been said so far; `url` is what a client is pointed at."""

    def __init__(self, gateway: str) -> None:
        self.exchanges: list[Exchange] = []
        self._client = httpx.Client(base_url=gateway, timeout=600, trust_env=False, verify=PLAIN)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.exchanges, self._client))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def serve(self) -> None:
        """Until `close`."""
        self._server.serve_forever(0.05)

    def close(self) -> None:
        """No more requests."""
        self._server.shutdown()
        self._server.server_close()
        self._client.close()


@contextmanager
def recording(gateway: str) -> Iterator[Recorder]:
    """A recorder in front of the gateway, for as long as the block lasts."""
    recorder = Recorder(gateway)
    thread = threading.Thread(target=recorder.serve)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.close()
        thread.join()


def _handler(exchanges: list[Exchange], client: httpx.Client) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            told = {name.lower(): text for name, text in self.headers.items()}
            exchange = Exchange(self.command, self.path, self._body(), told)
            exchanges.append(exchange)
            own = {name: text for name, text in told.items() if name not in HOP}
            with client.stream(self.command, self.path, content=exchange.asked, headers=own) as answer:
                exchange.status, exchange.headers = answer.status_code, dict(answer.headers)
                self._begin(answer)
                for piece in answer.iter_raw():
                    exchange.pieces.append(piece)
                    try:
                        self.wfile.write(piece)
                        self.wfile.flush()
                    except OSError:
                        exchange.left = True
                        return

        do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _pass  # noqa: N815 - the names that the base class looks for

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("content-length") or 0))

        def _begin(self, answer: httpx.Response) -> None:
            self.send_response_only(answer.status_code)
            for name, text in answer.headers.items():
                if name not in HOP:
                    self.send_header(name, text)
            self.send_header("connection", "close")
            self.close_connection = True
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class calls it
            """The exchanges are the log."""

    return Handler
