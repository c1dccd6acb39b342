"""Budgets hold across real gateway processes over one database, whatever becomes of clients and gateways."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from audit.lifecycle import Warrant
from audit.records import RequestClose, RequestOpen
from gateway.replay import the
from tests.audit.writer_samples import TENANT
from tests.faults.clients import HELLO, streaming
from tests.gateway.budgets.drawing import Teller, teller
from tests.gateway.budgets.laws import HEAD, budget, law, tokens_of
from tests.gateway.housed import housed
from tests.gateway.served import Served, serve
from tests.gateway.tenant_log import output_ids
from tests.postgres_fixtures import Database
from tests.waiting import eventually

CROWD, ROOM = 50, 9
TABLES = (budget("crowd", "requests", str(ROOM), "workflow", workflow="crowd"), budget("tokens", "tokens", "1000000"))


async def put_in_force(database: Database, home: Path) -> None:
    """Two people give `acme` a policy with a budget for its crowd and an account of its tokens."""
    policy = law(home, *TABLES, head=HEAD.replace("*", TENANT))
    async with housed(database, home) as inside:
        await inside.house.enactment.apply(TENANT, policy, Warrant("budgets", "ada", "grace"))


def ended(served: Served, request: UUID) -> bool:
    """Whether the request is closed in the log."""
    return isinstance(served.log.bodies(request)[-1], RequestClose)


def crowd_of(gateways: tuple[Served, Served]) -> list[httpx.Response]:
    """Fifty requests at once, half of them at either gateway."""

    def ask(number: int) -> httpx.Response:
        served = gateways[number % 2]
        body = {"model": f"{served.model}:ar", "messages": HELLO, "max_tokens": 4, "palimpsest": {"workflow": "crowd"}}
        return served.post(body)

    with ThreadPoolExecutor(CROWD) as threads:
        return list(threads.map(ask, range(CROWD)))


@pytest.mark.timeout(300)
def test_two_gateways_keep_one_account(durable_database: Database, endless: Path, tmp_path: Path) -> None:
    """50 at once get exactly what there is; who hangs up, or loses the gateway that serves it, pays for what was decoded."""
    asyncio.run(put_in_force(durable_database, tmp_path))
    with (
        serve(durable_database, tmp_path, endless) as one,
        serve(durable_database, tmp_path, endless) as two,
        teller(durable_database) as bank,
    ):
        answers = crowd_of((one, two))
        let_in = [UUID(answer.headers["x-request-id"]) for answer in answers if answer.status_code == 200]
        assert len(let_in) == ROOM
        assert {answer.status_code for answer in answers} == {200, 400} and bank.account("crowd") == (0, ROOM)
        paid = sum(tokens_of(one.log.bodies(request)) for request in let_in)
        assert bank.account("tokens") == (0, paid)
        with streaming(one, "ar") as streamed:
            pass  # hangs up in the middle
        eventually(lambda: ended(one, streamed.generation))
        left = tokens_of(one.log.bodies(streamed.generation))
        eventually(lambda: bank.account("tokens") == (0, paid + left))
        killed_in_the_middle(one, two, bank, paid + left)


def killed_in_the_middle(one: Served, two: Served, bank: Teller, paid: int) -> None:
    """The first gateway is killed while it answers; the second settles its lease when that has expired, by its records."""
    with streaming(one, "linear_spec") as streamed:
        one.process.kill()
        one.process.wait()
    reserved, spent = bank.account("tokens")
    assert reserved > 3000 and spent == paid
    bank.later(40)
    eventually(lambda: bank.account("tokens")[0] == 0)
    bodies = two.log.bodies(streamed.generation)
    assert bank.account("tokens") == (0, paid + the(RequestOpen, bodies).prompt_tokens + len(output_ids(bodies)))
