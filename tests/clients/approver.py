"""People beside the clients: two who put every answer under approval, and one who approves each once it has waited long enough.

They act as people do: by the command line and the pages of the running gateway, with their passwords.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx

from gateway.people.names import Role
from gateway.ui import forgery
from tests.audit.writer_samples import TENANT
from tests.gateway.planted import PASSWORD, plant_tenant, plant_user
from tests.gateway.served import Served, environ
from tests.policies.facts import HEAD
from tests.postgres_fixtures import Database

LAW: Final = """\
inherit = "baseline"
[[rules]]
id = "all"
phase = "admit"
action = "hold"
approval = "people"
[approvals.people]
quorum = 1
hold_seconds = {seconds}
"""
PATIENCE: Final = 240
"""Seconds for which a connection is kept open beyond the time after which the approver acts."""
COOKIE: Final = "palimpsest_session"
_HIDDEN: Final = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


def enact(database: Database, home: Path, seconds: int) -> None:
    """Every answer of the tenant is held from now on. Raises CalledProcessError."""
    plant_tenant(database.app_url, TENANT)
    for name, role in (("ada", Role.POLICY_ADMIN), ("grace", Role.AUDITOR), ("lin", Role.APPROVER)):
        plant_user(database.app_url, TENANT, name, role)
    file = home.parent / "law.toml"
    file.write_text(HEAD + LAW.format(seconds=seconds + PATIENCE), encoding="utf-8")
    people = ("--requested-by", "ada", "--approved-by", "grace", "--reason", "clients", "--password-stdin")
    subprocess.run(
        [sys.executable, "-m", "gateway", "policy", "apply", str(file), "--tenant", TENANT, *people],
        env=environ(home=str(home), database_url=database.app_url, reader_url=database.reader_url),
        input=f"{PASSWORD}\n{PASSWORD}\n", text=True, capture_output=True, check=True,
    )  # fmt: skip


@contextmanager
def approving(served: Served, seconds: int) -> Iterator[None]:
    """Whatever has waited for `seconds` is approved, for as long as the block lasts."""
    done = threading.Event()
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as client:
        _sign_in(client)
        thread = threading.Thread(target=_work, args=(client, seconds, done))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _sign_in(client: httpx.Client) -> None:
    hidden = dict(_HIDDEN.findall(client.get("/sign-in", headers={"accept": "text/html"}).text))
    fields = hidden | {"tenant": TENANT, "name": "lin", "password": PASSWORD, "next": "/"}
    answer = client.post("/sign-in", data=fields)
    if answer.status_code != 303:
        raise httpx.HTTPStatusError("the approver could not sign in", request=answer.request, response=answer)


def _work(client: httpx.Client, seconds: int, done: threading.Event) -> None:
    while not done.wait(0.5):
        waiting = client.get("/api/approvals", params={"state": "pending"}).raise_for_status().json()["approvals"]
        for each in waiting:
            waited = datetime.now(UTC) - datetime.fromisoformat(each["opened_at"])
            if waited.total_seconds() >= seconds:
                _approve(client, each["generation"])


def _approve(client: httpx.Client, generation: str) -> None:
    """Look at the content, and sign that."""
    place = f"/api/approvals/{generation}"
    looked_at = client.get(place).raise_for_status().headers["etag"]
    headers = {"if-match": looked_at, forgery.HEADER: forgery.token(client.cookies[COOKIE])}
    decision = {"decision": "approve", "password": PASSWORD, "meaning": "approval"}
    client.post(f"{place}/decision", json=decision, headers=headers).raise_for_status()
