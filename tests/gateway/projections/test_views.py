"""What is found of generations, of the queue, of desks and of days, page by page."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import policies
from audit.acts import Access
from audit.records import RequestClose
from gateway.approvals.case import State
from gateway.errors import BadRequest
from gateway.projections.economics import by_mode
from gateway.projections.folding import EPOCH, Stage, Told
from gateway.projections.paging import Page, Place
from gateway.projections.queue import Order, Share, Waiting, Wanted
from gateway.projections.search import Sought
from tests.gateway.projections.following import Following
from tests.gateway.projections.histories import TEXT, Request, digest
from tests.policies.facts import HEAD, write


@pytest.fixture(scope="module")
def tenant(logs: Following) -> str:
    """A tenant with a request of each of several kinds, in this order."""
    name = logs.tenant()
    for script, mode, caller in (
        ("answered", "ar", "key-1"), ("answered", "diffusion", "key-2"), ("held", "diffusion", "key-1"),
        ("released", "linear_spec", "key-1"), ("refused", "ar", "key-2"), ("blocked", "diffusion", "key-1"),
    ):  # fmt: skip
        logs.had(name, script, mode, caller)
    logs.projector.follow(name)
    return name


FOUND = (
    (Sought(), 6),
    (Sought(mode="diffusion"), 3),
    (Sought(caller="key-2"), 2),
    (Sought(state=Stage.PENDING), 1),
    (Sought(verdict="hold"), 2),
    (Sought(workflow="release-9"), 1),
    (Sought(mode="diffusion", caller="key-1", state=Stage.BLOCKED), 1),
    (Sought(text_sha256=digest(TEXT)), 3),
    (Sought(text_sha256=digest("another text")), 0),
    (Sought(since=datetime(2200, 1, 1, tzinfo=UTC)), 0),
    (Sought(until=datetime(2200, 1, 1, tzinfo=UTC)), 6),
)


@pytest.mark.parametrize(("sought", "count"), FOUND)
def test_generations_are_found_by_what_is_known_of_them(logs: Following, tenant: str, sought: Sought, count: int) -> None:
    """Each condition, and all of them together, leave the generations that meet it; another tenant's are never among them."""
    assert len(logs.views.search.generations(tenant, sought).rows) == count
    assert logs.views.search.generations(logs.tenant(), sought).rows == []


def test_a_text_is_found_by_its_hash_until_its_caller_is_erased(logs: Following) -> None:
    """A delivered text leads to its generation by a hash under the caller's key, and to nothing once the key is gone."""
    name = logs.tenant()
    mine, other = logs.had(name, "answered", caller="key-1"), logs.had(name, "answered", caller="key-2")
    logs.projector.follow(name)
    sought = Sought(text_sha256=digest(TEXT))
    rows = {row.id: row.text_hmac for row in logs.views.search.generations(name, sought).rows}
    assert set(rows) == {mine.id, other.id}
    assert digest(TEXT) not in rows.values() and rows[mine.id] != rows[other.id]
    logs.erase(name, "key-1")
    assert [row.id for row in logs.views.search.generations(name, sought).rows] == [other.id]


def test_pages_lose_and_repeat_nothing_while_rows_come(logs: Following) -> None:
    """Whoever pages through generations sees each that was there at first once, newest first, however many come meanwhile."""
    name = logs.tenant()
    there = [logs.had(name, "answered").id for _ in range(5)]
    logs.projector.follow(name)
    seen, place = list[Told](), None
    while True:
        found = logs.views.search.generations(name, page=Page(2, place))
        seen, place = [*seen, *found.rows], found.next
        if place is None:
            break
        logs.had(name, "answered")
        logs.projector.follow(name)
    assert [row.id for row in seen] == there[::-1]


def test_the_queue_is_in_order_and_pages_lose_nothing_while_answers_come(logs: Following) -> None:
    """By priority, then by expiry: every answer that waits at first comes once, in order, while others are held meanwhile."""
    name = logs.tenant()
    there = [logs.had(name, "held").id for _ in range(5)]
    logs.projector.follow(name)
    _set_expiry(logs, {each: datetime(2100, 1, 9 - place, tzinfo=UTC) for place, each in enumerate(there)})
    assert logs.views.desks.prioritise(name, there[1], 7)
    seen, place = list[UUID](), None
    while True:
        found = logs.views.queue.waiting(name, page=Page(2, place))
        seen, place = [*seen, *(row.generation for row in found.rows)], found.next
        if place is None:
            break
        logs.had(name, "held")
        logs.projector.follow(name)
    expected = [there[1], *(each for each in there[::-1] if each != there[1])]
    assert [each for each in seen if each in there] == expected
    assert len(seen) == len(set(seen))


def _set_expiry(logs: Following, times: dict[UUID, datetime]) -> None:
    with psycopg.connect(logs.database.app_url) as connection:
        for generation, at in times.items():
            connection.execute("UPDATE app.approval SET expires_at = %s WHERE generation = %s", (at, generation))


@pytest.mark.parametrize("order", list(Order))
def test_the_queue_is_paged_in_every_order(logs: Following, order: Order) -> None:
    """Page by page comes what all rows sorted by the order's own words would be."""
    name, queue = logs.tenant(), logs.views.queue
    for _ in range(5):
        logs.had(name, "held")
    logs.projector.follow(name)
    held = [row.generation for row in queue.waiting(name).rows]
    _set_expiry(logs, {each: datetime(2100, 1, place * 2 % 5 + 1, tzinfo=UTC) for place, each in enumerate(held)})
    logs.views.desks.prioritise(name, held[3], 7)
    seen, place = list[Waiting](), None
    while not seen or place is not None:
        found = queue.waiting(name, Wanted(order=order), Page(2, place))
        seen, place = [*seen, *found.rows], found.next
    urgent = order is Order.URGENT
    told = [(-row.priority * urgent, getattr(row, order.moment), row.generation) for row in seen]
    assert len(told) == 5 and told == sorted(told, reverse=order.descending)


def test_what_is_over_comes_newest_first(logs: Following) -> None:
    """A list of one state that has ended is by when its answers were held, unless another order is asked for."""
    name = logs.tenant()
    ended = [logs.had(name, "rejected").id for _ in range(3)]
    logs.projector.follow(name)
    rejected = Wanted(states=(State.REJECTED,))
    assert [row.generation for row in logs.views.queue.waiting(name, rejected).rows] == ended[::-1]
    assert [row.generation for row in logs.views.queue.waiting(name, replace(rejected, order=Order.OLDEST)).rows] == ended


def test_how_far_a_person_has_read_is_found_until_the_request_is_erased(logs: Following) -> None:
    """The accesses on record tell what each person last read before a record; a rebuild tells the same, an erasure ends it."""
    name, looks = logs.tenant(), logs.views.looks
    request = logs.had(name, "held").id
    for person, last in (("grace", 3), ("grace", 5), ("lin", 4), ("grace", 9)):
        logs.run(logs.lifecycle.record(name, Access(request, 0, last, "read it", person)))
    logs.run(logs.lifecycle.record(name, Access(None, 0, 9, "exported", "grace")))
    logs.projector.follow(name)
    assert [looks.newest_before(name, request, "grace", seq) for seq in (3, 5, 6, 99)] == [None, 3, 5, 9]
    assert (looks.newest_before(name, request, "lin", 99), looks.newest_before(name, request, "eve", 99)) == (4, None)
    assert looks.newest_before(logs.tenant(), request, "grace", 99) is None
    before = logs.rows(name)
    logs.projector.rebuild(name)
    assert logs.rows(name) == before and len(before["look"]) == 4
    logs.erase(name, "key-1")
    logs.projector.follow(name)
    erased = logs.rows(name)
    logs.projector.rebuild(name)
    assert logs.rows(name) == erased and erased["look"] == []


def test_the_queue_tells_what_a_reviewer_asks_first(logs: Following, tenant: str) -> None:
    """A row has who asked, why it is held, who may decide, what was decided, and figures of the generation."""
    (row,) = logs.views.queue.waiting(tenant).rows
    assert (row.state, row.cycle, row.requester, row.contributors) == (State.PENDING, 1, "key-1", ("ada",))
    assert (row.mode, row.tokens, row.workflow, row.decided_by) == ("diffusion", 7, "release", ())
    assert [(each["approval"], each["groups"], each["quorum"]) for each in row.needed] == [("default", ["leads"], 1)]
    assert logs.views.queue.find(tenant, row.generation) == row
    assert logs.views.queue.find(logs.tenant(), row.generation) is None


QUEUED = (
    (Wanted(), 1),
    (Wanted(states=(State.RELEASED,)), 1),
    (Wanted(states=tuple(State)), 2),
    (Wanted(group="leads"), 1),
    (Wanted(group="others"), 0),
    (Wanted(mode="ar"), 0),
    (Wanted(workflow="release", requester="key-1"), 1),
    (Wanted(expires_before=datetime(2000, 1, 1, tzinfo=UTC)), 0),
    (Wanted(share=Share.UNASSIGNED, me="grace"), 1),
    (Wanted(share=Share.MINE, me="grace"), 0),
)


@pytest.mark.parametrize(("wanted", "count"), QUEUED)
def test_the_queue_is_narrowed_by_each_condition(logs: Following, tenant: str, wanted: Wanted, count: int) -> None:
    """Each condition leaves the answers that meet it."""
    assert len(logs.views.queue.waiting(tenant, wanted).rows) == count


def test_counts_are_those_of_the_queue(logs: Following) -> None:
    """Pending, approved, mine, nobody's and soon to expire are counted as they would be listed, and for all tenants too."""
    name, before = logs.tenant(), logs.views.held.count()
    held = [logs.had(name, "held").id for _ in range(3)]
    approved = Request("released", "ar", "key-1")
    logs.append([entry for _ in range(4) for entry in approved.next(name)])
    logs.projector.follow(name)
    logs.views.desks.assign(name, held[0], "grace")
    counts = logs.views.queue.counts(name, "grace", datetime.now(UTC) + timedelta(days=2))
    assert (counts.pending, counts.approved, counts.mine, counts.unassigned, counts.soon) == (3, 1, 1, 3, 3)
    assert logs.views.queue.counts(name, "lin", datetime.now(UTC)).soon == 0
    everywhere = logs.views.held.count()
    assert (everywhere.pending - before.pending, everywhere.approved - before.approved) == (3, 1)
    assert everywhere.oldest_seconds > 0


def test_a_lock_is_one_persons_until_it_runs_out(logs: Following) -> None:
    """While somebody reads an answer nobody else gets its lock; it ends by itself, or by the one who has it."""
    name, desks = logs.tenant(), logs.views.desks
    held = logs.had(name, "held").id
    logs.projector.follow(name)
    assert desks.lock(name, held, "grace") and desks.lock(name, held, "grace")
    assert not desks.lock(name, held, "lin") and not desks.unlock(name, held, "lin")
    (row,) = logs.views.queue.waiting(name).rows
    assert row.locked_by == "grace" and row.locked_until is not None
    assert desks.lock(name, held, "grace", timedelta(0)) and desks.lock(name, held, "lin")
    assert desks.unlock(name, held, "lin")
    assert logs.views.queue.waiting(name).rows[0].locked_by is None


def test_desks_are_for_answers_of_the_tenant(logs: Following) -> None:
    """Nobody assigns, prioritises or locks what another tenant holds, or what nobody holds; a rebuild leaves desks alone."""
    name, other, desks = logs.tenant(), logs.tenant(), logs.views.desks
    held = logs.had(name, "held").id
    logs.projector.follow(name)
    for tenant_, generation in ((other, held), (name, uuid4())):
        assert not desks.assign(tenant_, generation, "grace")
        assert not desks.prioritise(tenant_, generation, 3)
        assert not desks.lock(tenant_, generation, "grace")
    assert desks.assign(name, held, "grace") and desks.prioritise(name, held, 1000)
    logs.projector.rebuild(name)
    (row,) = logs.views.queue.waiting(name).rows
    assert (row.assigned_to, row.priority) == ("grace", 100)


def test_the_feed_tells_each_change_behind_a_record(logs: Following) -> None:
    """What changed after a record is told in the order of the log; what was told before is not told again."""
    name = logs.tenant()
    queue = logs.views.queue
    assert queue.newest(name) == -1
    logs.had(name, "held")
    logs.projector.follow(name)
    since = queue.newest(name)
    released, rejected = logs.had(name, "released"), logs.had(name, "rejected")
    logs.projector.follow(name)
    changes = queue.changed(name, since)
    assert [(each.generation, each.state) for each in changes] == [(released.id, "released"), (rejected.id, "rejected")]
    assert queue.changed(name, changes[0].seq) == changes[1:]


def test_economics_add_up_by_mode(logs: Following, tenant: str) -> None:
    """Days add up to what generations of each mode used; refused ones do not count, held ones are a share."""
    today = datetime.now(UTC).date()
    days = logs.views.ledger.days(tenant, today - timedelta(days=365), today)
    found = {each.mode: each for each in by_mode(days)}
    assert {mode: each.sums.generations for mode, each in found.items()} == {"ar": 1, "diffusion": 3, "linear_spec": 1}
    diffusion = found["diffusion"]
    assert (diffusion.sums.tokens, diffusion.sums.forwards, diffusion.sums.prompt_tokens) == (21, 18, 33)
    assert diffusion.tokens_per_forward == 21 / 18 and diffusion.held_share == 1 / 3
    assert diffusion.currency == "USD" and diffusion.seconds >= 0
    assert logs.views.ledger.days(tenant, today + timedelta(days=1), today + timedelta(days=2)) == []


def priced(logs: Following, tenant: str, folder: Path) -> policies.Policy:
    """A policy with prices, which the tenant's records are said to have put in force."""
    text = HEAD + 'inherit = "baseline"\n[prices]\ncurrency = "EUR"\n[prices.ar]\nprompt_tokens = "3"\nanswer_tokens = "5"\n'
    text += 'gpu_seconds = "0.25"\n'
    policy = policies.load(write(folder, "priced", text))
    values = (tenant, bytes(policy.digest), policies.written(policy))
    with psycopg.connect(logs.database.app_url) as connection:
        connection.execute("INSERT INTO app.policy_version VALUES (%s, %s, %s, 0, now())", values)
    return policy


def test_money_is_by_the_prices_of_the_policy(logs: Following, tmp_path: Path) -> None:
    """A generation costs what the price sheet of the policy that judged it says, to the last digit, device seconds included."""
    name = logs.tenant()
    policy = priced(logs, name, tmp_path)
    request = Request("answered", "ar", "key-1")
    entries = [replace(entry, policy=bytes(policy.digest)) for entry in request.rest(name)]
    bodies = [replace(each.body, busy_us=2_000_000) if isinstance(each.body, RequestClose) else each.body for each in entries]
    logs.append([replace(entry, body=body) for entry, body in zip(entries, bodies, strict=True)])
    logs.projector.follow(name)
    (row,) = logs.told(name)
    assert (row.money, row.currency) == (Decimal("0.000011") * 3 + Decimal("0.000007") * 5 + Decimal("0.5"), "EUR")
    (economy,) = by_mode(logs.views.ledger.days(name, row.opened_at.date(), row.opened_at.date()))
    assert economy.busy_seconds == row.busy_us / 1e6 == 2
    assert economy.sums.money == row.money and economy.money_per_million == row.money * 1_000_000 / 7


FIRST = Place(EPOCH, UUID(int=0))
PLACES = st.builds(
    Place,
    st.integers(0, 253_402_300_799_999_999).map(lambda micros: EPOCH + timedelta(microseconds=micros)),
    st.uuids(),
    st.integers(-100, 100),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(place=PLACES)
def test_a_place_survives_its_spelling(place: Place) -> None:
    """What a client sends back is the place that it was given."""
    assert Place.read(str(place)) == place


@settings(max_examples=60)
@given(text=st.one_of(st.text(max_size=80), st.binary(max_size=60).map(lambda data: data.decode("latin-1"))))
def test_anything_else_is_no_place(text: str) -> None:
    """A place that nobody was given is refused as the client's mistake, or is a place."""
    try:
        found = str(Place.read(text))
    except BadRequest:
        found = str(FIRST)
    assert str(Place.read(found)) == found
