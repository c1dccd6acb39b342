"""A gateway process that is told to stop while clients wait for people."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from uuid import UUID

import pytest

from audit.approvals import ApprovalOpened
from audit.lifecycle import Warrant
from tests.audit.writer_samples import TENANT
from tests.engine.small import TINY
from tests.faults.clients import asking
from tests.gateway.approvals.holding import RULE
from tests.gateway.budgets.laws import HEAD, law
from tests.gateway.housed import housed
from tests.gateway.served import serve
from tests.postgres_fixtures import Database
from tests.waiting import eventually

HOLD = f"{RULE}[approvals.people]\nhold_seconds = 3600\nexpires_seconds = 7200\n"


async def put_in_force(database: Database, home: Path) -> None:
    """Two people give `acme` a law under which every answer is held, and its streams are kept for an hour."""
    held = law(home, HOLD, head=HEAD.replace("*", TENANT))
    async with housed(database, home) as inside:
        await inside.house.enactment.apply(TENANT, held, Warrant("held", "ada", "grace"))


@pytest.mark.timeout(300)
def test_a_gateway_told_to_stop_ends_what_waits_for_people(database: Database, tmp_path: Path) -> None:
    """SIGTERM ends a stream that waits for a person at once, with the address of the approval, and then the process."""
    asyncio.run(put_in_force(database, tmp_path))
    with serve(database, tmp_path, TINY) as served, asking(served, "linear_spec", 8) as answer:
        request = UUID(answer.headers["x-request-id"])
        eventually(lambda: any(isinstance(body, ApprovalOpened) for body in served.log.bodies(request)))
        served.process.send_signal(signal.SIGTERM)
        words = answer.read().decode()
        assert "waits for a person's approval" in words and str(request) in words
        assert served.process.wait(120) == 0
