"""Laws of telling other systems: signed, at least once, under one id, without content, and only where the operator said."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from audit.approvals import ApprovalOpened, content_digest
from audit.header import uuid7
from audit.outbound import Unreachable
from audit.writer import Entry
from gateway.approvals.choices import Reject
from gateway.approvals.webhooks import Teller, places, webhook_secret
from gateway.settings import SettingsError
from tests.audit.writer_samples import TENANT
from tests.gateway.approvals.bureau import ONE, TEXT, bureau
from tests.gateway.people.office import urls_of
from tests.gateway.planted import plant_tenant
from tests.postgres_fixtures import Database


@dataclass
class Hook:
    """A place that keeps what it is told, and answers with these statuses, the last one for ever."""

    port: int = 0
    statuses: list[int] = field(default_factory=lambda: [204])
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.told]


@contextmanager
def hook() -> Iterator[Hook]:
    """A place on this machine."""
    made = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.told.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(made.statuses[0] if len(made.statuses) == 1 else made.statuses.pop(0))
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


async def test_a_place_is_told_of_each_step(database: Database, tmp_path: Path) -> None:
    """What came before the place was named is not told; a refusal is told again under the same id; nothing holds content."""
    async with bureau(database, tmp_path, ONE) as inside:
        with hook() as place:
            (where,) = places([f"http://127.0.0.1:{place.port}/hook"])
            teller = Teller(urls_of(database), inside.log.keys, where)
            await inside.held()
            teller.tell()
            assert place.told == []
            generation = await inside.held()
            await inside.approvals.decide(
                TENANT, generation, Reject(content_digest(TEXT), "unsafe", "a secret"), inside.people["ada"]
            )
            place.statuses = [204, 500, 302, 204]
            for _ in range(2):
                with pytest.raises(Unreachable):
                    teller.tell()
            teller.tell()
            teller.tell()
            teller.close()
    assert [event["type"] for event in place.events()] == [
        "approval.opened", "approval.decided", "approval.decided", "approval.decided", "approval.ended",
    ]  # fmt: skip
    opened, *_, decided, ended = place.events()
    assert {event["data"]["generation"] for event in place.events()} == {str(generation)}
    assert (opened["data"]["requester"], decided["data"]["person"], ended["data"]["why"]) == ("key-1", "ada", "rejected")
    assert len({headers["webhook-id"] for headers, _ in place.told}) == 3
    everything = b"".join(body for _, body in place.told)
    assert TEXT.strip().encode() not in everything and b"a secret" not in everything
    secret = webhook_secret(inside.log.keys)
    for headers, body in place.told:
        over = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(secret, over, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"


async def test_no_tenant_holds_up_another(database: Database, tmp_path: Path) -> None:
    """An event that the place refuses, or a place that was away, costs no other tenant an event, nor one made meanwhile."""
    async with bureau(database, tmp_path, ONE) as inside:
        with hook() as place:
            (where,) = places([f"http://127.0.0.1:{place.port}/hook"])
            teller = Teller(urls_of(database), inside.log.keys, where)
            teller.tell()
            generation = await inside.held()
            (opened,) = [body for body in inside.log.bodies(generation) if isinstance(body, ApprovalOpened)]
            plant_tenant(database.app_url, "zeta")
            await inside.writer.append([Entry("zeta", uuid7(), "key-z", bytes(32), opened)])
            place.statuses = [410, 204]
            with pytest.raises(Unreachable, match="410"):
                teller.tell()
            teller.tell()
            teller.close()
    assert [event["data"]["tenant"] for event in place.events()] == [TENANT, "zeta", TENANT]


async def test_two_gateways_tell_once(database: Database, tmp_path: Path) -> None:
    """A cursor is shared: what one gateway told, another on the same database does not tell again."""
    async with bureau(database, tmp_path, ONE) as inside:
        with hook() as place:
            (where,) = places([f"http://127.0.0.1:{place.port}/"])
            tellers = [Teller(urls_of(database), inside.log.keys, where) for _ in range(2)]
            for teller in tellers:
                teller.tell()
            await inside.held()
            for teller in tellers:
                teller.tell()
                teller.close()
    assert len(place.told) == 1


@pytest.mark.parametrize(
    "url", ["http://example.com/", "ftp://example.com/", "https://u:p@example.com/", "https://", "nonsense"]
)
def test_events_go_where_they_are_safe(url: str) -> None:
    """An address in the clear to another machine, with a password in it, or of no use, stops the start."""
    with pytest.raises(SettingsError, match="PALIMPSEST_WEBHOOKS"):
        places([url])
    assert places(["https://hooks.example/x", "http://localhost:8080/x"])
