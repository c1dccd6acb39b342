"""Laws of outgoing requests: whatever a server does, the call ends in time, with a bounded whole answer or an error."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from audit import outbound
from audit.outbound import Unreachable, http_url, request

Serve = Callable[[socket.socket], None]


def _ask(serve: Serve) -> outbound.Answer:
    """One request to a server that does `serve` with its connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one() -> None:
        with listener, listener.accept()[0] as connection, suppress(OSError):
            _whole_request(connection)
            serve(connection)

    thread = threading.Thread(target=one)
    thread.start()
    try:
        return request("POST", http_url(f"http://127.0.0.1:{listener.getsockname()[1]}/x"), {}, b"body")
    finally:
        thread.join(10)


def _whole_request(connection: socket.socket) -> None:
    """Head and body may come apart; a connection closed with one unread is reset, and the answer with it."""
    heard = b""
    while not heard.endswith(b"\r\n\r\nbody") and (part := connection.recv(65_536)):
        heard += part


def _says(data: bytes) -> Serve:
    return lambda connection: connection.sendall(data)


def _drips(start: bytes) -> Serve:
    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:  # until it is hung up on
            connection.sendall(b"x")
            time.sleep(0.02)

    return drip


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_whole_answer_is_returned(head: bytes) -> None:
    """Status, headers by lower-case name, and body come back, with a length and without one."""
    answer = _ask(_says(head + b"body"))
    assert (answer.status, answer.body) == (200, b"body")
    assert answer.headers.get("content-length", "4") == "4"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300,
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 70_000, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshor",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)  # fmt: skip
def test_a_broken_answer_is_an_error(data: bytes) -> None:
    """Garbage, an answer cut short and one that is too long are Unreachable, never a part taken for the whole."""
    with pytest.raises(Unreachable):
        _ask(_says(data))


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\na: ", b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"]
)
def test_a_dripping_answer_ends_in_time(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a byte now and then, in headers or body, is hung up on when the time is over."""
    monkeypatch.setattr(outbound, "SECONDS_MOST", 0.2)
    with pytest.raises(Unreachable):
        _ask(_drips(start))


@pytest.mark.parametrize("junk", [b"\x1b[31m\x9b" * 9000, b"HTTP/1.1 " + b"\x1b[2J" * 9000])
def test_what_an_error_quotes_is_short_and_moves_no_cursor(junk: bytes) -> None:
    """A status line of 50 KB with escapes for terminals leaves a few visible words."""
    with pytest.raises(Unreachable) as told:
        _ask(_says(junk + b"\r\n\r\n"))
    assert "BadStatusLine" in str(told.value) and len(str(told.value)) < 300 and str(told.value).isprintable()
