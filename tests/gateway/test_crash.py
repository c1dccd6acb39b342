"""Real crashes: a killed gateway, a stopped PostgreSQL, a changed byte."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from audit.header import decode_header
from audit.records import DecodeRun, Delivery, RequestAbandoned, RequestClose
from audit.store import read_tenant
from audit.verify import Verdict
from gateway.postgres import StopMode
from tests.audit.writer_samples import TENANT
from tests.engine.small import TINY
from tests.faults.clients import HELLO, streaming
from tests.gateway.served import Served, serve
from tests.postgres_fixtures import Database
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["ar", "linear_spec", "diffusion"])
def test_a_killed_gateway_has_recorded_all_that_it_said(
    durable_database: Database, endless: Path, tmp_path: Path, mode: str
) -> None:
    """After SIGKILL in mid-stream every byte received is explained by records; the next start abandons the request."""
    with serve(durable_database, tmp_path / "home", endless) as served, streaming(served, mode) as streamed:
        served.process.kill()
        with pytest.raises(httpx.TransportError):
            streamed.read(10**9)
    assert len(streamed.text) >= 200 and not streamed.done
    assert served.explained(streamed.generation).startswith(streamed.text)
    with serve(durable_database, tmp_path / "home", endless) as again:
        eventually(lambda: isinstance(again.log.bodies(streamed.generation)[-1], RequestAbandoned))
        kinds = [type(body) for body in again.log.bodies(streamed.generation)]
        assert kinds.count(RequestAbandoned) == 1 and RequestClose not in kinds and Delivery not in kinds
    report = again.log.verified(tmp_path / "bundle")
    assert report.verdict is Verdict.VERIFIED, report.findings
    assert report.covered == report.records == report.decrypted


def test_a_client_that_hangs_up_before_its_whole_answer_is_on_record(
    durable_database: Database, endless: Path, tmp_path: Path
) -> None:
    """A client that gives up waiting for a document aborts the engine work, and the log says so."""
    with serve(durable_database, tmp_path / "home", endless) as served:
        body = {"model": f"{served.model}:ar", "messages": HELLO, "temperature": 0, "max_tokens": 3000}
        headers = {"authorization": f"Bearer {served.key}"}
        connection = HTTPConnection(served.url.removeprefix("http://"), timeout=60)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers | {"content-type": "application/json"})
        eventually(lambda: served.log.size() > 0)
        with read_tenant(durable_database.reader_url, TENANT) as reader:
            request = decode_header(next(iter(reader.records())).header).request
        assert request is not None
        eventually(lambda: any(isinstance(body, DecodeRun) for body in served.log.bodies(request)))
        connection.close()
        eventually(lambda: isinstance(served.log.bodies(request)[-1], RequestClose))
        *_, delivery, close = served.log.bodies(request)
        assert isinstance(delivery, Delivery) and delivery.outcome == "aborted"
        assert isinstance(close, RequestClose) and close.reason == "aborted" and 0 < close.tokens < 3000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_gateway_told_to_stop_finishes_its_answers(
    durable_database: Database, endless: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """SIGTERM, SIGINT and a lost terminal let a running answer come to its end, sign the whole log, and exit with status 0."""
    with serve(durable_database, tmp_path / "home", endless) as served:
        with streaming(served, "ar", max_tokens=400) as streamed:
            served.process.send_signal(number)
            streamed.read(10**9)
        assert streamed.done and streamed.error is None
        assert served.process.wait(30) == 0
    assert served.explained(streamed.generation) == streamed.text
    report = served.log.verified(tmp_path / "bundle")
    assert report.verdict is Verdict.VERIFIED and report.covered == report.records


def test_a_next_start_leaves_a_living_gateway_alone(durable_database: Database, endless: Path, tmp_path: Path) -> None:
    """A second gateway over the same log does not abandon what the first is still serving."""
    with serve(durable_database, tmp_path / "home", endless) as first, streaming(first, "ar") as streamed:
        with serve(durable_database, tmp_path / "home", endless) as second:
            answer = second.post({"model": f"{second.model}:ar", "messages": HELLO, "max_tokens": 4})
            assert answer.status_code == 200
            streamed.read(2000)
        assert not any(isinstance(body, RequestAbandoned) for body in first.log.bodies(streamed.generation))


@pytest.mark.parametrize("stop", list(StopMode))
def test_a_stopped_postgres_ends_the_stream_and_nothing_unrecorded_leaves(
    durable_database: Database, endless: Path, tmp_path: Path, stop: StopMode
) -> None:
    """Without a database the stream ends with an error, requests get 503, and all is well again when it is back."""
    with serve(durable_database, tmp_path / "home", endless, audit_stall_seconds="1") as served:
        with streaming(served, "ar") as streamed:
            durable_database.server.stop(stop)
            streamed.read(10**9)
        assert streamed.error is not None and streamed.error["code"] == "audit_log_unavailable" and not streamed.done
        assert not served.ready()
        refused = served.post({"model": served.model, "messages": HELLO})
        assert refused.status_code == 503 and refused.json()["error"]["type"] == "server_error"
        durable_database.server.start()
        eventually(served.ready)
        assert served.explained(streamed.generation).startswith(streamed.text)
        answer = served.post({"model": f"{served.model}:ar", "messages": HELLO, "max_tokens": 20, "temperature": 0})
        assert answer.status_code == 200
        eventually(lambda: isinstance(served.log.bodies(streamed.generation)[-1], RequestAbandoned | RequestClose))
    report = served.log.verified(tmp_path / "bundle")
    assert report.verdict is Verdict.VERIFIED, report.findings


def test_a_changed_byte_is_found_and_named(durable_database: Database, tmp_path: Path) -> None:
    """One byte of any stored body changed by a superuser: `verify` exits 1 and names that record and no other."""
    with serve(durable_database, tmp_path / "home", TINY) as served:
        answer = served.post({"model": f"{served.model}:diffusion", "messages": HELLO, "temperature": 0})
        assert answer.status_code == 200
    size = served.log.size()
    assert verify(served, tmp_path / "before").returncode == 0
    with psycopg.connect(durable_database.superuser_url, autocommit=True) as superuser:
        superuser.execute("ALTER TABLE audit.body DISABLE TRIGGER ALL")
        for seq in (0, size // 2, size - 1):
            flip(superuser, seq)
            done = verify(served, tmp_path / f"flipped-{seq}")
            flip(superuser, seq)
            named = [line for line in done.stdout.splitlines() if "record seq" in line]
            assert done.returncode == 1, done.stdout
            assert named and all(f"record seq {seq} " in line for line in named)
    assert verify(served, tmp_path / "after").returncode == 0


def flip(superuser: psycopg.Connection[Any], seq: int) -> None:
    """Change the lowest bit of the middle byte of one stored body."""
    changed = superuser.execute(
        "UPDATE audit.body SET data = set_byte(data, length(data) / 2, get_byte(data, length(data) / 2) # 1) "
        "WHERE tenant = %s AND seq = %s",
        (TENANT, seq),
    )
    assert changed.rowcount == 1


def verify(served: Served, out: Path) -> subprocess.CompletedProcess[str]:
    """Export, then the command an auditor would run."""
    made = served.export(out)
    command = [sys.executable, "-m", "audit", "verify", str(out), "--vkey", made.vkey, "--origin", made.origin]
    return subprocess.run(command, capture_output=True, text=True, check=False)
