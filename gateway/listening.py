"""The sockets a gateway will listen on, held before anything else is opened: an address that is taken is known at once."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gateway.settings import SettingsError


@contextmanager
def hold(host: str, port: int) -> Iterator[list[socket.socket]]:
    """A bound socket for each address of the host, closed on the way out; nobody is let in until somebody listens.

    Raises SettingsError for an address that cannot be had.
    """
    with ExitStack() as held:
        yield [held.enter_context(each) for each in _bound(host, port)]


def named(host: str, port: int) -> str:
    """A host and its port as URLs write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(host: str, port: int) -> list[socket.socket]:
    place = named(host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        with ExitStack() as undo:
            made = [undo.enter_context(_socket(family, address)) for family, *_, address in dict.fromkeys(found)]
            undo.pop_all()
            return made
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"{place} is in use: choose PALIMPSEST_PORT or --port") from error
        why = error.strerror or str(error)
        raise SettingsError(f"cannot listen on {place} ({why}): choose PALIMPSEST_HOST and PALIMPSEST_PORT") from error


def _socket(family: int, address: tuple[object, ...]) -> socket.socket:
    # Named as TCP: asyncio turns off Nagle's algorithm for such connections only, and the rest of an answer would wait for the
    # client's delayed acknowledgement, 40 ms at every request but the first of a kept connection.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
