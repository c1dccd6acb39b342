"""The address of a gateway: held first, said in one line if it is taken, given back at the end."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import httpx
import pytest

from audit.ledger import log_origin
from audit.signer import ED25519_FILE, Signer, signer_folder
from gateway.gateway_process import SERVE, gateway_process
from gateway.listening import hold
from gateway.settings import Settings, SettingsError
from tests.engine.small import TINY
from tests.gateway.planted import plant_tenant
from tests.gateway.served import environ
from tests.gateway.test_cli import assert_one_line, outside
from tests.postgres_fixtures import Database


def test_a_taken_address_is_refused_and_left_alone() -> None:
    """Where somebody listens nothing is bound, of a name with several addresses none; later it can be had."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"^127.0.0.1:{port} is in use: choose PALIMPSEST_PORT or --port$"):
            hold("127.0.0.1", port).__enter__()
    with hold("127.0.0.1", port) as (held,):
        assert held.getsockname() == ("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_nobody_here_is_refused(host: str) -> None:
    """What is no address of this machine, or no name, is said with the settings that choose another."""
    with pytest.raises(SettingsError, match=f"^cannot listen on {host}:0 .*: choose PALIMPSEST_HOST"):
        hold(host, 0).__enter__()


async def test_what_is_written_leaves_at_once() -> None:
    """A connection to a held address never waits for the other side's acknowledgement before it sends the rest."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with hold("127.0.0.1", 0) as (held,):
        async with await asyncio.start_server(answer, sock=held):
            _, writer = await asyncio.open_connection(*held.getsockname())
            assert await accepted
            writer.close()


@pytest.mark.timeout(180)
def test_a_second_gateway_says_that_the_port_is_taken(database: Database, tmp_path: Path) -> None:
    """It opens nothing and ends with one line; the first says nothing but its log's lines, also when it is ended."""
    home, log = tmp_path / "home", tmp_path / "gateway.log"
    urls = {"database_url": database.app_url, "reader_url": database.reader_url}
    with gateway_process(log, environ(home=str(home), checkpoint=str(TINY), **urls), SERVE) as first:
        address = first.url.removeprefix("http://")
        port, other = address.partition(":")[2], tmp_path / "other"
        taken = outside("serve", "--port", port, home=str(other), **urls)
        assert_one_line(taken, f"palimpsest: {address} is in use: choose PALIMPSEST_PORT or --port")
        assert not other.exists()
        assert httpx.get(f"{first.url}/health/live", trust_env=False).status_code == 200
    assert first.process.poll() == 0
    events = [json.loads(line)["event"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert (events[0], events[-1]) == ("gateway.started", "gateway.stopped")


def test_a_gateway_that_cannot_come_up_says_why_in_one_line(database: Database, tmp_path: Path) -> None:
    """A signing key that is gone is named with what to do, without a traceback, and the exit status is 1."""
    settings = Settings.read({"PALIMPSEST_HOME": str(tmp_path)})
    plant_tenant(database.app_url, "acme")
    Signer(settings.keys, log_origin(settings.origin, "acme"))
    gone = signer_folder(settings.keys, log_origin(settings.origin, "acme")) / ED25519_FILE
    gone.unlink()
    urls = {"database_url": database.app_url, "reader_url": database.reader_url}
    ended = outside("serve", "--port", "0", home=str(tmp_path), checkpoint=str(TINY), **urls)
    *events, last = ended.err.splitlines()
    assert (ended.status, last) == (1, f"palimpsest: {gone} is gone but has signed; restore it from its backup")
    assert [json.loads(line)["event"] for line in events] == ["gateway.stopped"]
