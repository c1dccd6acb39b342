"""Budgets in a whole house: who gets in, what the others are told, and that everything is paid for."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine

from audit.records import PolicyDecision, RequestClose, RequestOpen
from engine.request import Mode as EngineMode
from engine.train.messages import Role
from gateway.errors import RETRIED_WITHIN
from policies import Mode, Usage, cost
from tests.audit.writer_samples import TENANT
from tests.engine.chat_format import Message, render_chat
from tests.engine.harness import asked
from tests.gateway.budgets.laws import PRICES, budget, law, tokens_of
from tests.gateway.housed import Housed, housed, tiny
from tests.postgres_fixtures import Database
from tests.waiting import until

CROWD, ROOM = 50, 6
ANSWER = 8
DAY = 86_400


def standing(inside: Housed, name: str) -> tuple[Decimal | int, Decimal | int]:
    """What of a budget is reserved and spent, over all who draw on it."""
    found = [each for each in inside.house.budgets._accounts.standing(TENANT) if each.budget == name]
    return sum(each.reserved for each in found), sum(each.spent for each in found)


def prompt_tokens() -> int:
    """How long the prompt of `ask` is."""
    return len(render_chat(tiny().tokenizer, [Message(Role.USER, "hello")]))


def refused(inside: Housed, answer: httpx.Response, name: str) -> PolicyDecision:
    """The client was told which budget has no room, and so was the log; nothing was opened.

    Status and type say whether waiting helps: after a rate limit clients wait for as long as it says, in silence.
    """
    error, wait = answer.json()["error"], answer.headers.get("retry-after")
    late = wait is None or int(wait) > RETRIED_WITHIN
    told = (400, "invalid_request_error") if late else (429, "rate_limit_error")
    assert (answer.status_code, error["type"], error["code"]) == (*told, "budget_exceeded")
    assert ("x-should-retry" in answer.headers) is late
    assert repr(name) in error["message"]
    (record,) = inside.records(answer)
    assert isinstance(record, PolicyDecision) and (record.outcome, record.status) == ("refuse", 429)
    assert record.facts is not None and name in record.facts.exceeded
    return record


@pytest.mark.parametrize(("unit", "per"), [("requests", "key"), ("concurrency", "tenant"), ("tokens", "workflow")])
async def test_a_crowd_of_requests(database: Database, tmp_path: Path, unit: str, per: str) -> None:
    """Of 50 requests at once exactly as many run as there is room for; afterwards all is freed and what was used is spent."""
    amount = ROOM * (prompt_tokens() + ANSWER) if unit == "tokens" else ROOM
    scarce = budget("scarce", unit, str(amount), per, **({"workflow": "night*"} if per == "workflow" else {}))
    async with housed(database, tmp_path, law(tmp_path, scarce)) as inside:
        inside.house.intake.engine.pause()
        crowd = [asyncio.create_task(inside.ask(palimpsest={"workflow": "Nightly"})) for _ in range(CROWD)]
        await until(lambda: sum(task.done() for task in crowd) == CROWD - ROOM, seconds=45)
        inside.house.intake.engine.resume()
        answers = await asyncio.gather(*crowd)
        let_in = [answer for answer in answers if answer.status_code == 200]
        assert len(let_in) == ROOM
        for answer in answers:
            if answer not in let_in:
                refused(inside, answer, "scarce")
                assert int(answer.headers["retry-after"]) >= 1
        used = {"requests": ROOM, "concurrency": 0, "tokens": sum(tokens_of(inside.records(answer)) for answer in let_in)}
        assert standing(inside, "scarce") == (0, used[unit])


async def test_money_is_counted_to_the_last_digit(database: Database, tmp_path: Path) -> None:
    """What an answer cost is what the prices say of its closing counts, the device's seconds among them."""
    seconds = budget("seconds", "gpu_seconds", "1000")
    tables = (budget("purse", "money", "1000"), budget("passes", "forwards", "1000"), seconds, PRICES)
    policy = law(tmp_path, *tables)
    async with housed(database, tmp_path, policy) as inside:
        answer = await inside.ask(palimpsest={"mode": "diffusion"})
        (close,) = (body for body in inside.records(answer) if isinstance(body, RequestClose))
        assert close.busy_us is not None
        took = Decimal(close.busy_us) / 1_000_000
        usage = Usage(close.prompt_tokens, close.tokens, close.forwards, took)
        assert took > 0 and standing(inside, "seconds") == (0, took) and standing(inside, "passes") == (0, close.forwards)
        assert standing(inside, "purse") == (0, cost(policy.document.prices, Mode.DIFFUSION, usage))


async def test_waiting_cannot_help_what_never_fits(database: Database, tmp_path: Path) -> None:
    """A request that is larger than the whole budget is told not to come again; a smaller one runs."""
    async with housed(database, tmp_path, law(tmp_path, budget("small", "tokens", "100"))) as inside:
        answer = await inside.ask(max_tokens=4000)
        refused(inside, answer, "small")
        assert answer.headers["x-should-retry"] == "false" and "retry-after" not in answer.headers
        assert (await inside.ask()).status_code == 200


async def test_a_refusal_waits_for_the_last_budget_that_blocks(database: Database, tmp_path: Path) -> None:
    """Of several budgets without room the one that takes longest tells when to come again; where one never fits, not at all."""
    soon = budget("soon", "requests", "1", window="minute")
    late, small = budget("late", "requests", "1", window="day"), budget("small", "tokens", "100")
    async with housed(database, tmp_path, law(tmp_path, soon, late, small)) as inside:
        assert (await inside.ask()).status_code == 200
        again = await inside.ask()
        refused(inside, again, "soon")
        assert int(again.headers["retry-after"]) > DAY
        never = await inside.ask(max_tokens=4000)
        refused(inside, never, "soon")
        assert never.headers["x-should-retry"] == "false" and "retry-after" not in never.headers


async def test_a_client_that_comes_one_after_the_other(database: Database, tmp_path: Path) -> None:
    """With room for one request at a time, whoever has got an answer may ask at once again, streamed or not."""
    async with housed(database, tmp_path, law(tmp_path, budget("one", "concurrency", "1"))) as inside:
        for number in range(6):
            assert (await inside.ask(stream=number % 2 == 1)).status_code == 200


UNRUN: list[dict[str, Any]] = [
    {"palimpsest": {"regex": "(unclosed"}},
    {"palimpsest": {"mode": "diffusion", "regex": "[a-z]+"}},
]


@pytest.mark.parametrize("wrong", UNRUN, ids=["constraint", "mode"])
async def test_what_was_never_opened_costs_nothing(database: Database, tmp_path: Path, wrong: dict[str, Any]) -> None:
    """A request that fails after its budgets were reserved gives all of it back, its place among the requests too."""
    narrow = '[modes]\nallowed = ["ar", "diffusion"]\ndefault = "ar"\n'
    tables = (narrow, budget("count", "requests", "1"), budget("words", "tokens", "1000"))
    async with housed(database, tmp_path, law(tmp_path, *tables)) as inside:
        assert (await inside.ask(**wrong)).status_code == 400
        assert (standing(inside, "count"), standing(inside, "words")) == ((0, 0), (0, 0))
        assert (await inside.ask()).status_code == 200
        refused(inside, await inside.ask(), "count")


async def test_a_request_that_the_engine_turns_away(database: Database, tmp_path: Path) -> None:
    """One that was opened and never begun counts as a request and has used nothing else."""
    tables = (budget("count", "requests", "2"), budget("words", "tokens", "1000"))
    async with housed(database, tmp_path, law(tmp_path, *tables), max_generations="1") as inside:
        engine = inside.house.intake.engine
        engine.pause()
        engine.submit(asked(EngineMode.AR, tokens=1))
        assert (await inside.ask()).json()["error"]["code"] == "overloaded"
        assert (standing(inside, "count"), standing(inside, "words")) == ((0, 1), (0, 0))
        engine.resume()


async def test_a_full_budget_goes_down_a_mode(database: Database, tmp_path: Path) -> None:
    """Where a budget has no room and says so, the request runs in the cheaper mode, on record, and still draws on it."""
    dear = budget("dear", "money", "0.01", on_exceed="downgrade_mode", downgrade_to="linear_spec")
    async with housed(database, tmp_path, law(tmp_path, dear, PRICES)) as inside:
        answer = await inside.ask(palimpsest={"mode": "ar"})
        opening, _, decision, *_ = inside.records(answer)
        assert isinstance(opening, RequestOpen) and isinstance(decision, PolicyDecision)
        assert (answer.status_code, opening.mode, decision.mode) == (200, "linear_spec", "linear_spec")
        assert "budget:dear" in decision.rules and decision.facts is not None and decision.facts.exceeded == ("dear",)
        reserved, spent = standing(inside, "dear")
        assert (reserved, spent > 0) == (0, True)


async def test_the_lower_mode_has_budgets_of_its_own(database: Database, tmp_path: Path) -> None:
    """After going down, what the lower mode needs is reserved in turn, and where that has no room the request is refused."""
    dear = budget("dear", "tokens", "10", on_exceed="downgrade_mode", downgrade_to="linear_spec")
    async with housed(database, tmp_path, law(tmp_path, dear, budget("count", "requests", "1"))) as inside:
        assert (await inside.ask(palimpsest={"mode": "ar"})).status_code == 200
        record = refused(inside, await inside.ask(palimpsest={"mode": "ar"}), "count")
        assert record.mode == ""


async def test_a_route_without_the_lower_mode_blocks(database: Database, tmp_path: Path) -> None:
    """No path leaves the modes that a request may have: where its route lacks the lower mode, it is refused."""
    dear = budget("dear", "tokens", "10", on_exceed="downgrade_mode", downgrade_to="linear_spec")
    route = '[[routes]]\nid = "exact"\nmodes = ["ar"]\nwhen = { workflow = ["ledger"] }\n'
    async with housed(database, tmp_path, law(tmp_path, dear, route)) as inside:
        refused(inside, await inside.ask(palimpsest={"workflow": "ledger"}), "dear")
        assert (await inside.ask()).status_code == 200


async def test_a_full_budget_may_ask_for_a_person(database: Database, tmp_path: Path) -> None:
    """A budget that holds lets the request run, whole, and its decision says which budget asks for an approval."""
    held = budget("held", "tokens", "10", on_exceed="hold")
    async with housed(database, tmp_path, law(tmp_path, held)) as inside:
        answer = await inside.ask()
        _, _, decision, *_ = inside.records(answer)
        assert isinstance(decision, PolicyDecision)
        assert (decision.outcome, decision.release, "budget:held" in decision.rules) == ("allow", "whole", True)
        reserved, spent = standing(inside, "held")
        assert (reserved, spent) == (0, tokens_of(inside.records(answer)))


async def test_without_the_accounts_nothing_runs(database: Database, tmp_path: Path) -> None:
    """When the accounts cannot be reached a request that needs them gets a 503, and nothing of it is opened."""
    async with housed(database, tmp_path, law(tmp_path, budget("count", "requests", "5"))) as inside:
        inside.house.budgets._accounts._engine = create_engine("postgresql+psycopg://gov_app@127.0.0.1:1/none")
        answer = await inside.ask()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "budgets_unavailable")
        assert inside.records(answer) == [] and inside.house.intake.engine.idle()
