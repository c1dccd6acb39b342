"""One question, one generation, one approval: whatever the client does, wherever it asks again, whenever."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from audit.approvals import Attached
from audit.header import uuid7
from audit.keys import KeyStore
from audit.records import Kind
from engine.request import Mode
from gateway.approvals.attachments import Attachments
from gateway.budgets.visit import Visit
from gateway.dialects.openai_chat import decode
from gateway.dialects.request import Conversation
from gateway.errors import LogDown, Withheld
from gateway.http.sources import Earlier
from gateway.law.lawbook import Standing
from gateway.pieces import Failed
from gateway.presence import Presence
from gateway.recall import Ending, Recall
from gateway.settings import DatabaseUrl
from tests.audit.writer_samples import TENANT
from tests.engine.harness import asked
from tests.gateway.approvals.holding import digest, generations, holding, law, records_of
from tests.gateway.approvals.test_delivery import CHAT, MESSAGES, said
from tests.gateway.asgi import Reader
from tests.gateway.housed import housed
from tests.gateway.law.test_matrix import DIALECTS
from tests.gateway.planted import plant_key
from tests.gateway.tenant_log import opened
from tests.gateway.tooled import tooled
from tests.policies.documents import policy
from tests.policies.facts import PLAIN
from tests.postgres_fixtures import Database
from tests.waiting import until


def sql(database: Database, statement: str) -> list[tuple[Any, ...]]:
    """As time that has passed, or a process that has died."""
    with psycopg.connect(database.superuser_url) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


async def test_a_restart_loses_no_held_answer(database: Database, tmp_path: Path) -> None:
    """Held in one process, approved in the next and asked for in a third, the same bytes come, and nothing was made twice."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        for row in DIALECTS:
            await here.send(row, row.path, stream=True)
        key, made = here.inside.key, generations(here.inside)
    async with holding(database, tmp_path, law(hold_seconds=0)) as second:
        cases = [await second.approve(generation) for generation in made]
    async with holding(database, tmp_path, law(hold_seconds=0)) as third:
        for row, case in zip(DIALECTS, cases, strict=True):
            answer = await third.send(row, row.path, stream=True, key=key)
            assert digest(said(row, answer)) == case.content_sha256
        assert generations(third.inside) == made


async def test_two_processes_share_what_is_held(database: Database, tmp_path: Path) -> None:
    """A question that one process holds is answered by another one, while it waits there and after it was approved here."""
    async with holding(database, tmp_path) as one, holding(database, tmp_path) as two:
        key = one.inside.key
        first = asyncio.create_task(one.send(CHAT, "shared", stream=True, key=key))
        generation = await one.pending()
        second = asyncio.create_task(two.send(CHAT, "shared", stream=True, key=key))
        await until(lambda: bool(records_of(two.inside, Kind.ATTACHED)))
        case = await two.approve(generation)
        answers = await asyncio.gather(first, second)
        assert [digest(said(CHAT, answer)) for answer in answers] == [case.content_sha256] * 2
        assert generations(one.inside) == [generation]


async def test_a_trial_lets_no_held_question_be_drawn_again(database: Database, tmp_path: Path) -> None:
    """While another policy is on trial, a question that one of the two held is not made anew where it falls to the other."""
    mild, surely = policy(""), 1 - 1e-12
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        assert (await here.send(CHAT, "again", stream=False)).status_code == 400
        here.inside.house.laws.replace({TENANT: Standing(law(hold_seconds=0), mild, surely)})
        assert (await here.send(CHAT, "again", stream=False)).json()["error"]["code"] == "approval_required"
        (made,) = generations(here.inside)
        assert [body.generation for _, body in records_of(here.inside, Kind.ATTACHED) if isinstance(body, Attached)] == [made]
        assert (await here.send(CHAT, "another", stream=False)).status_code == 200
        assert sql(database, "SELECT count(DISTINCT generation) FROM app.attachment") == [(1,)]


async def test_a_policy_on_trial_says_how_long_its_holds_wait(database: Database, tmp_path: Path) -> None:
    """A stream that the policy on trial holds is kept open as long as that policy says, whatever the one in force has."""
    async with holding(database, tmp_path, policy("")) as here:
        here.inside.house.laws.replace({TENANT: Standing(policy(""), law(hold_seconds=0), 1 - 1e-12)})
        async with asyncio.timeout(30):
            answer = await here.send(CHAT, "tried", stream=True)
        assert "approval_required" in answer.text


async def test_two_processes_asked_at_once_make_one_generation(database: Database, tmp_path: Path) -> None:
    """The same question to two processes at the same moment is generated by one of them alone."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as one, holding(database, tmp_path) as two:
        houses = [one, two] * 4
        await asyncio.gather(*(here.send(CHAT, "at once", stream=False, key=one.inside.key) for here in houses))
        assert len(records_of(one.inside, Kind.REQUEST_OPEN)) == len(generations(one.inside)) == 1
        assert len(records_of(one.inside, Kind.ATTACHED)) == 7


@pytest.mark.parametrize("first", DIALECTS, ids=lambda row: row.path)
async def test_another_dialect_attaches(database: Database, tmp_path: Path, first: Any) -> None:
    """Asked in one dialect and again in the others, it is one generation; each hears the approved text in its own way."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        await here.send(first, "hello", stream=True)
        generation = await here.pending()
        case = await here.approve(generation)
        for row in DIALECTS:
            for stream in (True, False):
                answer = await here.send(row, "hello", stream=stream)
                assert digest(said(row, answer)) == case.content_sha256, row.path
                assert answer.headers["x-palimpsest-generation"] == str(generation)
        assert generations(here.inside) == [generation]
        told = [body for _, body in records_of(here.inside, Kind.ATTACHED)]
        assert {each.generation for each in told if isinstance(each, Attached)} == {generation}
        assert len({each.dialect for each in told if isinstance(each, Attached)}) == 3


async def test_a_client_that_leaves_cancels_nothing(database: Database, tmp_path: Path) -> None:
    """Whoever waited goes; the approval stays, and the next one who asks is given what was decided meanwhile."""
    async with holding(database, tmp_path) as here:
        leaving = Reader()
        body = CHAT.body(here.inside.house.intake.model.name, "linear_spec", True)
        gone = asyncio.create_task(leaving.ask(here.inside.app, CHAT.path, body, here.inside.key))
        generation = await here.pending()
        leaving.gone.set()
        await gone
        case = await here.approve(generation)
        answer = await here.inside.client.post(CHAT.path, json=body)
        assert digest(said(CHAT, answer)) == case.content_sha256
        assert generations(here.inside) == [generation]


async def test_only_the_same_caller_and_question_attach(database: Database, tmp_path: Path) -> None:
    """Another question, another key of the tenant, another seed: each is a generation of its own."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        other = plant_key(database.app_url, TENANT).text
        await here.send(CHAT, "one", stream=True)
        await here.send(CHAT, "two", stream=True)
        await here.send(CHAT, "one", stream=True, key=other)
        await here.send(CHAT, "one", stream=True, seed=8)
        assert len(generations(here.inside)) == 4 and records_of(here.inside, Kind.ATTACHED) == []


async def test_a_turn_of_claude_code_attaches_whatever_its_tools(database: Database, tmp_path: Path) -> None:
    """In one session the same turn is the same question although its tools and system prompt are others; a new turn is not."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        here.inside.client.headers["x-claude-code-session-id"] = "s-1"
        body = MESSAGES.body(here.inside.house.intake.model.name, "linear_spec", True)
        turn = {"messages": [{"role": "user", "content": "go on"}]}
        for more in ({"system": "a"}, {"system": "b", "max_tokens": 7}):
            await here.inside.client.post(MESSAGES.path, json=body | turn | more)
        assert len(generations(here.inside)) == 1 and len(records_of(here.inside, Kind.ATTACHED)) == 1
        await here.inside.client.post(MESSAGES.path, json=body | {"messages": [{"role": "user", "content": "go back"}]})
        assert len(generations(here.inside)) == 2


async def test_an_answer_that_was_told_is_the_answer_for_a_while(database: Database, tmp_path: Path) -> None:
    """Ten minutes after a client was told the end, and not before, the same question is a new one."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        await here.send(CHAT, "again", stream=True)
        await here.approve(await here.pending())
        (waits,) = sql(database, "SELECT until > now() + interval '50 minutes' FROM app.attachment")
        await here.send(CHAT, "again", stream=True)
        (told,) = sql(database, "SELECT extract(epoch FROM until - now()) BETWEEN 500 AND 600 FROM app.attachment")
        assert waits == told == (True,)
        sql(database, "UPDATE app.attachment SET until = now()")
        await here.send(CHAT, "again", stream=True)
        assert len(generations(here.inside)) == 2


async def test_a_later_cycle_is_asked_for_by_the_same_question(database: Database, tmp_path: Path) -> None:
    """An answer that people still decide about is the answer to its question, also when its first cycle would be long over."""
    async with holding(database, tmp_path, law(hold_seconds=0, more="edit_allowed = true\n")) as here:
        await here.send(CHAT, "edited", stream=True)
        generation = await here.pending()
        case = await here.inside.house.approvals.find(TENANT, generation)
        assert case is not None
        await here.inside.house.approvals.edit(TENANT, generation, "Better.", "tone", here.person, case.content_sha256)
        sql(database, "UPDATE app.attachment SET until = now()")  # of cycle 1, and ten minutes more
        await here.send(CHAT, "another", stream=True)
        await here.send(CHAT, "edited", stream=True)
        assert len(generations(here.inside)) == 2 and len(records_of(here.inside, Kind.ATTACHED)) == 1


async def test_an_answer_that_is_not_held_is_nobody_elses(database: Database, tmp_path: Path) -> None:
    """A request whose answer may be held, and is not, gives its keys back before its client hears the end."""
    gate = '[[gates]]\nid = "g"\nmodes = ["linear_spec"]\nmetric = "tokens"\nabove = 30.5\naction = "hold"\n'
    async with housed(database, tmp_path, policy(gate)) as inside:
        for _ in range(2):
            answer = await inside.ask("hello", palimpsest={"mode": "linear_spec"})
            assert answer.status_code == 200 and sql(database, "SELECT 1 FROM app.attachment") == []
        assert len(records_of(inside, Kind.REQUEST_OPEN)) == 2


async def test_a_claim_of_a_process_that_died_is_taken_over(database: Database, tmp_path: Path) -> None:
    """Killed between its claim and its first record, or while it generated, a process leaves nothing that anybody waits for."""
    async with holding(database, tmp_path, law(hold_seconds=0)) as here:
        await here.send(CHAT, "taken", stream=True)
        (first,) = generations(here.inside)
        sql(database, f"UPDATE app.attachment SET generation = '{uuid4()}', instance = '{uuid4()}'")
        await here.send(CHAT, "taken", stream=True)
        assert len(generations(here.inside)) == 2
        assert sql(database, "SELECT count(*) FROM app.attachment") == [(1,)]
        assert first != generations(here.inside)[1]


def test_one_of_two_keys_is_enough(database: Database) -> None:
    """A claim is of all of its keys or of none; one that is another's names that one; a moment that is over frees it."""
    ours, theirs = UUID(int=1), UUID(int=2)
    table = Attachments(DatabaseUrl(database.app_url), uuid4())
    a, b, c = (bytes([place]) * 32 for place in range(3))
    try:
        assert table.claim(TENANT, [a, b], ours).generation == ours
        assert table.claim(TENANT, [a, b], ours).generation == ours
        assert table.claim(TENANT, [b, c], theirs).generation == ours
        assert table.claim("other", [a, b], theirs).generation == theirs
        assert table.claim(TENANT, [c], theirs).generation == theirs
        soon = datetime.now(UTC) + timedelta(hours=3)
        table.keep(TENANT, ours, int(soon.timestamp() * 1_000_000))
        assert sql(database, f"SELECT DISTINCT until FROM app.attachment WHERE generation = '{ours}'") == [(soon,)]
        table.leave(TENANT, ours, timedelta(0))
        assert table.claim(TENANT, [a], theirs).generation == theirs
        table.forget(TENANT, theirs)
        assert sql(database, "SELECT tenant FROM app.attachment GROUP BY tenant") == [("other",)]
    finally:
        table.close()


NOWHERE = DatabaseUrl("postgresql://nobody@127.0.0.1:9/none")


async def test_who_waits_for_anothers_answer_is_told_when_it_cannot_be_read(database: Database, tmp_path: Path) -> None:
    """A log or a database that is away ends the stream of an attached request with an error, not in the air."""
    async with housed(database, tmp_path) as inside:
        house, attaching = inside.house, inside.house.attaching
        working = asked(Mode.AR)
        await opened(house.writer, working, uuid7())
        found = await house.recall.find(TENANT, working.id)
        assert found is not None and found.ending is Ending.NONE
        away = Recall(NOWHERE, KeyStore(tmp_path / "keys"), lambda _: b"")
        for name, broken in (("_recall", away), ("_presence", Presence(NOWHERE, uuid4()))):
            visit = Visit(house.budgets, house.laws.active(TENANT), PLAIN, uuid4())
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(attaching, name, broken)
                told = [piece async for piece in Earlier(house, TENANT, uuid4(), found, visit).made()]
            (failed,) = told
            assert isinstance(failed, Failed) and isinstance(failed.error, LogDown), name


async def test_a_repeat_of_what_is_blocked_is_told_so(database: Database, tmp_path: Path) -> None:
    """What is blocked while a repeat waits for it is withheld from the repeat too: no fault, after which clients ask again."""
    blocking = policy('[[rules]]\nid = "never"\nphase = "release"\nwhen = { metric = "tokens", above = 0 }\naction = "block"\n')
    async with housed(database, tmp_path, blocking) as inside:
        house, answer = inside.house, await inside.ask()
        found = await house.recall.find(TENANT, UUID(answer.headers["x-request-id"]))
        assert found is not None and found.ending is Ending.WITHHELD
        visit = Visit(house.budgets, house.laws.active(TENANT), PLAIN, uuid4())
        (failed,) = [piece async for piece in Earlier(house, TENANT, uuid4(), found, visit).made()]
        assert isinstance(failed, Failed) and isinstance(failed.error, Withheld)


async def test_a_repeat_is_read_with_the_tools_of_the_first(database: Database, tmp_path: Path) -> None:
    """What was text when it was judged becomes no call because the repeat offers another tool."""
    look, act = ({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("look", "act"))
    async with housed(database, tmp_path, model=tooled()) as inside:
        answer = await inside.ask(tools=[look])
        found = await inside.house.recall.find(TENANT, UUID(answer.headers["x-request-id"]))
        assert found is not None and found.tools == ("look",)
        visit = Visit(inside.house.budgets, inside.house.laws.active(TENANT), PLAIN, uuid4())
        repeat = Earlier(inside.house, TENANT, uuid4(), found, visit)
        question = [{"role": "user", "content": "hello"}]
        asked = decode(json.dumps({"model": "m", "messages": question, "tools": [look, act]}).encode()).prompt
        assert isinstance(asked, Conversation) and len(asked.callable) == 2
        assert repeat.read_by(asked).callable == asked.callable[:1]
        assert [tool.name for tool in repeat.read_by(Conversation(())).callable] == ["look"]
