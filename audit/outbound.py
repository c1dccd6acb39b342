"""One bounded HTTP request to a server that is not trusted: no redirects, no proxies, a limit on time and size."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Timer
from urllib.parse import SplitResult, urlsplit

from audit.errors import AuditError

MAX_ANSWER_BYTES = 65_536
MAX_QUOTED = 200
SECONDS_MOST = 20.0


class Unreachable(AuditError):
    """The other side did not answer, or not within the limits on time and size; try again later."""


class BadAddress(AuditError):
    """A URL that cannot be used; the message says what one looks like."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: status, headers with lower-case names, and a body of at most 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def http_url(text: str) -> SplitResult:
    """A http or https URL with a host and without user, query and fragment; raises BadAddress."""
    try:
        url = urlsplit(text)
        usable = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError as error:
        raise BadAddress(f"{text!r} is no URL") from error
    if not usable or url.query or url.fragment or url.username or not text.isascii() or not text.isprintable():
        raise BadAddress("give a URL such as https://host.example/path, without user, query and fragment")
    return url


def request(method: str, url: SplitResult, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """Send one request and read the whole answer; raises Unreachable. Redirects are returned, not followed."""
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=SECONDS_MOST)
    try:
        connection.connect()
        with _ending(connection.sock):
            connection.request(method, url.path or "/", body=body, headers=dict(headers))
            with connection.getresponse() as response:
                names = {name.lower(): value for name, value in response.getheaders()}
                return Answer(response.status, names, _read(response))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"{url.hostname} did not answer: {type(error).__name__}: {_quoted(str(error))}") from error
    finally:
        connection.close()


@contextmanager
def _ending(connection: socket.socket) -> Iterator[None]:
    """Hang up after SECONDS_MOST, for timeouts of a socket count from the last byte and a drip would last forever."""
    late = Event()
    end = Timer(SECONDS_MOST, _expire, (connection, late))
    end.daemon = True
    end.start()
    try:
        yield
        if late.is_set():
            raise TimeoutError("the answer took too long")
    finally:
        end.cancel()


def _expire(connection: socket.socket, late: Event) -> None:
    late.set()
    hang_up(connection)


def _quoted(text: str) -> str:
    """An error's words, in which whatever the server said is short and moves no cursor."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:MAX_QUOTED])


def hang_up(connection: socket.socket) -> None:
    """End a connection from another thread than the one that is waiting on it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _read(response: http.client.HTTPResponse) -> bytes:
    data = b""
    while part := response.read1(8192):
        data += part
        if len(data) > MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")
    if response.length:
        raise ValueError("the answer was cut short")
    return data
