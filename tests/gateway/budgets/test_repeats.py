"""A question that is asked again is answered by the generation that has it, and still counts among the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

import policies
from audit.approvals import Attached
from audit.records import Kind, PolicyDecision
from gateway.budgets.accounts import Accounts
from gateway.budgets.from_log import Recorded
from policies import Usage
from tests.gateway.approvals.holding import RULE, Holding, generations, holding, records_of
from tests.gateway.approvals.test_delivery_attach import sql
from tests.gateway.budgets.drawing import teller
from tests.gateway.budgets.laws import budget
from tests.gateway.budgets.test_budgets import standing
from tests.gateway.budgets.test_expired import away
from tests.gateway.law.test_matrix import DIALECTS, Dialect
from tests.policies.documents import policy
from tests.postgres_fixtures import Database
from tests.waiting import until

CHAT: Final = DIALECTS[0]
ROOM: Final = 3
SHAPES: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    "/v1/messages": lambda told: told["type"] == "error" and told["error"]["type"] == "rate_limit_error",
    "/v1/chat/completions": lambda told: told["error"]["code"] == "budget_exceeded",
    "/v1/responses": lambda told: told["error"]["code"] == "budget_exceeded",
}
"""How each dialect says that there were too many requests."""


def refused_well(row: Dialect, answer: httpx.Response) -> bool:
    """In the dialect's shape; where a 429 is asked again whatever it says, a wait too long for that becomes a 400."""
    final = row.path != "/v1/messages" and answer.headers.get("x-should-retry") == "false"
    return answer.status_code == (400 if final else 429) and SHAPES[row.path](answer.json())


def law(*tables: str) -> policies.Policy:
    """Every answer is held, nobody is kept waiting for people, and these budgets count."""
    return policy("\n".join((RULE, "[approvals.people]", "hold_seconds = 0", *tables)))


async def again(here: Holding, row: Dialect, times: int) -> list[httpx.Response]:
    """The same question, asked so often, one after the other."""
    return [await here.send(row, "again", stream=at % 2 == 1) for at in range(times)]


@pytest.mark.parametrize("row", DIALECTS, ids=lambda row: row.path)
async def test_a_storm_of_repeats_meets_the_limit(database: Database, tmp_path: Path, row: Dialect) -> None:
    """Repeats beyond the requests of a minute are refused in the dialect's own shape, and the one generation is left alone."""
    tables = (budget("pace", "requests", str(ROOM), window="minute"), budget("words", "tokens", "10000"))
    async with holding(database, tmp_path, law(*tables)) as here:
        answers = await again(here, row, ROOM + 3)
        late = answers[ROOM:]
        assert len(late) == 3 and all(refused_well(row, each) for each in late)
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in late)
        assert all(answer.status_code != 429 for answer in answers[:ROOM])
        (generation,) = generations(here.inside)
        assert len(records_of(here.inside, Kind.ATTACHED)) == ROOM - 1
        for answer in late:
            (refusal,) = here.inside.records(answer)
            assert isinstance(refusal, PolicyDecision) and refusal.rules == ("budget:pace",)
        assert standing(here.inside, "pace") == (0, ROOM)
        (reserved, spent), own = standing(here.inside, "words"), Recorded(here.inside.log.bodies(generation), Decimal(0))
        used = own.usage()
        assert used is not None and (reserved, spent) == (0, used.prompt_tokens + used.answer_tokens)


async def test_repeats_are_open_while_the_generation_works(database: Database, tmp_path: Path) -> None:
    """With room for two open requests a third repeat of a question that is being answered is refused; the end frees both."""
    async with holding(database, tmp_path, law(budget("few", "concurrency", "2"))) as here:
        here.inside.house.intake.engine.pause()
        two = [asyncio.create_task(here.send(CHAT, "again", stream=True))]
        await until(lambda: standing(here.inside, "few")[0] == 1)
        two.append(asyncio.create_task(here.send(CHAT, "again", stream=True)))
        await until(lambda: standing(here.inside, "few")[0] == 2)
        assert (await here.send(CHAT, "again", stream=False)).status_code == 429
        here.inside.house.intake.engine.resume()
        await asyncio.gather(*two)
        assert len(generations(here.inside)) == 1 and standing(here.inside, "few") == (0, 0)


async def test_a_place_that_nobody_gave_back_is_freed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeat that could not give its place back loses it with its lease; that it was one request stays counted."""
    tables = (budget("few", "concurrency", "9"), budget("pace", "requests", "9"))
    async with holding(database, tmp_path, law(*tables)) as here:
        await again(here, CHAT, 1)
        monkeypatch.setattr(Accounts, "settle", away)
        await again(here, CHAT, 1)
        monkeypatch.undo()
        assert standing(here.inside, "few") == (1, 0) and len(records_of(here.inside, Kind.ATTACHED)) == 1
        with teller(database) as bank:
            bank.later(40)
        await here.inside.house.budgets.beat()
        assert standing(here.inside, "few") == (0, 0) and standing(here.inside, "pace") == (0, 2)


async def test_a_question_that_is_taken_over_counts_once(database: Database, tmp_path: Path) -> None:
    """Where the generation that had the question is gone, whoever makes it again counts as one request and for all it takes."""
    tables = (budget("pace", "requests", "9"), budget("words", "tokens", "10000"))
    async with holding(database, tmp_path, law(*tables)) as here:
        await again(here, CHAT, 1)
        sql(database, f"UPDATE app.attachment SET generation = '{uuid4()}', instance = '{uuid4()}'")
        await again(here, CHAT, 1)
        assert len(generations(here.inside)) == 2 and standing(here.inside, "pace") == (0, 2)
        used = [Recorded(here.inside.log.bodies(each), Decimal(0)).usage() for each in generations(here.inside)]
        assert standing(here.inside, "words") == (0, sum(each.prompt_tokens + each.answer_tokens for each in used if each))


def test_an_attached_request_used_nothing() -> None:
    """By its one record a request that an earlier one answered was opened and has used nothing."""
    assert Recorded((Attached(generation=uuid4(), dialect="openai.chat"),), Decimal(7)).usage() == Usage()
