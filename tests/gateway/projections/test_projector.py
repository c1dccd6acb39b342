"""The tables say what the logs say, in whatever portions they were followed, by however many, and after whatever ended."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.acts import Retirement
from audit.records import EngineNote
from audit.writer import Entry
from gateway.projections import projector as projecting
from gateway.projections.folding import Stage
from tests.gateway.projections.following import Following
from tests.gateway.projections.histories import SCRIPTS, Request

CALLERS = ("key-1", "key-2")
MODES = ("ar", "diffusion", "linear_spec", "quadratic_spec", "auto")
LAW = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@dataclass
class Portion:
    """How a stretch of a log came about: which request went on at each step, and whom an erasure followed, if any."""

    turns: list[int]
    erases: str | None


REQUESTS = st.lists(
    st.builds(Request, st.sampled_from(sorted(SCRIPTS)), st.sampled_from(MODES), st.sampled_from(CALLERS)),
    min_size=1,
    max_size=6,
)
ERASES = st.one_of(st.none(), st.none(), st.sampled_from(CALLERS))
PORTIONS = st.lists(st.builds(Portion, st.lists(st.integers(0, 5), max_size=12), ERASES), min_size=1, max_size=4)


@LAW
@given(requests=REQUESTS, portions=PORTIONS)
def test_the_tables_are_what_the_log_tells_however_it_is_followed(
    logs: Following, requests: list[Request], portions: list[Portion]
) -> None:
    """Requests come on side by side, are followed now and then, and callers are erased: every row is as its story says, the
    sums are those of the rows, and making all of it again changes nothing."""
    tenant, erased = logs.tenant(), set[UUID]()
    for portion in portions:
        turns = [requests[turn % len(requests)] for turn in portion.turns]
        entries = [entry for request in turns if not request.over for entry in request.next(tenant)]
        if entries:
            logs.append(entries)
        logs.projector.follow(tenant)
        begun = {each.id for each in requests if each.caller == portion.erases and each.done}
        if begun - erased:
            logs.erase(tenant, str(portion.erases))
            erased |= begun
    logs.projector.follow(tenant)
    stages = {each.id: Stage.ERASED if each.id in erased else each.stage for each in requests if each.done}
    assert logs.states(tenant) == stages
    assert_sums(logs, tenant)
    followed = logs.rows(tenant)
    logs.projector.rebuild(tenant)
    assert logs.rows(tenant) == followed


def assert_sums(logs: Following, tenant: str) -> None:
    """The table of sums is what the rows add up to."""
    found = logs.rows(tenant)
    sums: dict[tuple[object, ...], list[object]] = {}
    for row in logs.told(tenant):
        if not row.mode or row.state in (Stage.REFUSED, Stage.ATTACHED, Stage.ERASED):
            continue
        ran = 0 if row.closed_at is None else round((row.closed_at - row.opened_at).total_seconds() * 1_000_000)
        held = row.state in ("pending", "approved", "released", "rejected", "expired", "cancelled")
        figures = [1, row.prompt_tokens, row.tokens, row.forwards, ran, int(held), row.money, row.busy_us]
        key = (tenant, row.opened_at.date(), row.mode, row.currency)
        sums[key] = [a + b for a, b in zip(sums.get(key, [0] * 8), figures, strict=True)]  # type: ignore[operator]
    assert {tuple(row[:4]): list(row[4:]) for row in found["generation_day"]} == sums


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_step_of_every_story_is_told(logs: Following, name: str) -> None:
    """After each step of a request its row stands where the step says, and a case's row beside it at the same stage."""
    tenant, request = logs.tenant(), Request(name, "diffusion", "key-1")
    while not request.over:
        logs.append(request.next(tenant))
        logs.projector.follow(tenant)
        assert logs.states(tenant) == {request.id: request.stage}
        case = logs.views.queue.find(tenant, request.id)
        assert case is None or case.state.value == request.stage.value


def test_a_row_has_the_figures_of_its_records(logs: Following) -> None:
    """Tokens, forwards, mode and the rest are those of opening and close; a text is there as its keyed hash alone."""
    tenant = logs.tenant()
    request = logs.had(tenant, "answered", "ar")
    logs.projector.follow(tenant)
    (row,) = logs.told(tenant)
    assert (row.id, row.mode, row.workflow, row.dialect) == (request.id, "ar", "release", "openai.chat")
    assert (row.prompt_tokens, row.tokens, row.forwards, row.reason, row.verdict) == (11, 7, 6, "stop", "allow")
    assert row.text_hmac is not None and len(row.text_hmac) == 32
    assert row.closed_at is not None and row.closed_at >= row.opened_at


def test_two_followers_never_count_twice(logs: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes that follow one log at once, in small portions, leave the tables of one that did it alone."""
    monkeypatch.setattr(projecting, "SPAN", 3)
    tenant = logs.tenant()
    for number in range(12):
        logs.had(tenant, sorted(SCRIPTS)[number], MODES[number % len(MODES)])
    with closing(logs.another()) as second, closing(logs.another()) as third, ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(each.follow, tenant) for each in (logs.projector, second, third) * 2]:
            done.result()
    followed = logs.rows(tenant)
    logs.projector.rebuild(tenant)
    assert logs.rows(tenant) == followed
    assert sum(row[4] for row in followed["generation_day"]) == len(followed["generation"]) - 2  # one attached, one refused


def test_nobody_sees_half_a_portion(logs: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that dies in a portion leaves rows and cursor as they were; the next one goes on from there."""
    tenant = logs.tenant()
    logs.had(tenant, "answered")
    logs.projector.follow(tenant)
    before = logs.rows(tenant)
    request = logs.had(tenant, "released")
    with monkeypatch.context() as patch:
        patch.setattr(projecting, "_move", _dies)
        with pytest.raises(RuntimeError, match="died"):
            logs.projector.follow(tenant)
    assert logs.rows(tenant) == before
    logs.projector.follow(tenant)
    assert logs.states(tenant)[request.id] == Stage.RELEASED


def test_looking_finds_what_was_appended_before(logs: Following) -> None:
    """When `look` returns, all that was in the log before the call is in the tables, for each of many who ask at once."""
    tenant = logs.tenant()
    request = Request("released", "ar", "key-1")

    async def steps() -> None:
        while not request.over:
            await logs.writer.append(request.next(tenant))
            await asyncio.gather(*(logs.projector.look(tenant) for _ in range(3)))
            assert logs.states(tenant) == {request.id: request.stage}

    logs.run(steps())


def test_the_clock_finds_what_others_appended(logs: Following) -> None:
    """Without being asked a projector brings in every log, within its own round, and knows that nothing is left."""
    tenant = logs.tenant()
    logs.had(tenant, "held")
    with closing(logs.another()) as other:
        begun = other.caught_up_at
        other.round()
        assert other.behind == 0 and other.caught_up_at > begun
    assert set(logs.states(tenant).values()) == {Stage.PENDING}


def test_erasure_takes_what_came_from_bodies(logs: Following) -> None:
    """Of an erased caller's requests what headers tell is left: no hash, no figure, no case, no claim; others keep theirs."""
    tenant = logs.tenant()
    gone = [logs.had(tenant, name, caller="key-1").id for name in ("answered", "released", "held")]
    kept = logs.had(tenant, "answered", caller="key-2").id
    logs.projector.follow(tenant)
    assert len(logs.rows(tenant)["approval"]) == 2
    gone.append(logs.had(tenant, "answered", caller="key-1").id)  # which was never followed while it could be read
    claimed = {bytes([place]) * 32: request for place, request in enumerate((*gone, kept))}
    for key, request in claimed.items():
        logs.claim(tenant, key, request)
    logs.erase(tenant, "key-1")
    logs.projector.follow(tenant)
    rows = {row.id: row for row in logs.told(tenant)}
    assert [rows[each] for each in gone] == [rows[each].blank() for each in gone]
    assert all(rows[each].text_hmac is None and rows[each].tokens == 0 and rows[each].mode == "" for each in gone)
    assert [row.tokens for each, row in rows.items() if each not in gone] == [7]
    assert logs.rows(tenant)["approval"] == []
    assert logs.claims(tenant) == {kept}
    assert_sums(logs, tenant)


def test_a_retirement_takes_what_came_from_bodies(logs: Following) -> None:
    """Rows of requests whose bodies a retirement names are left with what headers tell; later requests are not touched."""
    tenant = logs.tenant()
    old = logs.had(tenant, "released")
    last = logs.append([Entry(tenant, None, "ada", None, EngineNote("said", "the last"))])
    logs.append([Entry(tenant, None, "ada", None, Retirement(0, 1, 0, last, "ada"))])
    young = logs.had(tenant, "answered")
    for key, request in ((bytes(32), old.id), (bytes([1]) * 32, young.id)):
        logs.claim(tenant, key, request)
    logs.projector.follow(tenant)
    assert logs.claims(tenant) == {young.id}
    assert logs.states(tenant) == {old.id: Stage.ERASED, young.id: Stage.ANSWERED}
    assert_sums(logs, tenant)


def _dies(*_: object) -> None:
    raise RuntimeError("died")
