"""Where a server in a process of its own is to be found."""

from __future__ import annotations

import socket

import pytest

from gateway.gateway_process import _free_port


def test_a_port_that_was_found_is_for_who_asks_for_it() -> None:
    """Between the look for a free port and the start of the server nobody else is given that port, and the server gets it."""
    port = _free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port
