"""Where a server in a process of its own is to be found."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from gateway.gateway_process import GatewayDown, _free_port, gateway_process


def test_a_port_that_was_found_is_for_who_asks_for_it() -> None:
    """Between the look for a free port and the start of the server nobody else is given that port, and the server gets it."""
    port = _free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port


def test_a_server_that_does_not_start_is_heard(tmp_path: Path) -> None:
    """Why it ended is in the message, for a benchmark's server takes its log with it."""
    command = (sys.executable, "-c", "import sys; print('the keys are not ours'); print(); sys.exit(1)")
    with pytest.raises(GatewayDown, match="the keys are not ours; see"), gateway_process(tmp_path / "log", os.environ, command):
        pass
