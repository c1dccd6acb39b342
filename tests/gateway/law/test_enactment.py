"""A policy takes force by two people and a record, in that order; what dies in between is finished by the next start."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from math import inf
from pathlib import Path

import pytest
from msgspec import structs

import policies
from audit.acts import PolicyChange
from audit.errors import InvalidRecord
from audit.header import uuid7
from audit.laws import Laws
from audit.lifecycle import ActRefused, Warrant
from audit.records import PolicyDecision
from audit.verify import Verdict as Found
from gateway.law.enactment import InEffect
from gateway.law.lawbook import Lawbook, Standing
from policies.gates import Gate
from policies.metrics import Metric
from policies.policy import seal
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed, housed
from tests.policies.facts import HEAD, write
from tests.postgres_fixtures import Database
from tests.waiting import until

CHILD = HEAD + 'inherit = "baseline"\n[limits]\nmax_tokens = {most}\ndefault_max_tokens = {most}\n'
WARRANT = Warrant("a reason", "ada", "grace")


def limited(folder: Path, most: int) -> policies.Policy:
    """A policy of `acme` whose answers have at most so many tokens."""
    return policies.load(write(folder, f"most{most}", CHILD.format(most=most)))


def _in_force(book: Lawbook, policy: policies.Policy) -> bool:
    return book.active(TENANT).digest == policy.digest


async def digest_of(inside: Housed) -> bytes:
    """The policy that the next request is judged under, by its record."""
    answer = await inside.ask(max_tokens=1)
    assert answer.status_code == 200
    (decision,) = (body for body in inside.records(answer) if isinstance(body, PolicyDecision))
    return decision.policy_digest


async def test_a_policy_takes_force_and_goes_back(database: Database, tmp_path: Path) -> None:
    """Applied, replaced and rolled back, each policy judges the next request within seconds, and the log verifies."""
    one, two = limited(tmp_path, 1), limited(tmp_path, 2)
    async with housed(database, tmp_path) as inside:
        house = inside.house
        shipped = bytes(house.laws.shipped.digest)
        assert await digest_of(inside) == shipped
        seqs = []
        for policy in (one, two):
            seqs.append((await house.enactment.apply(TENANT, policy, WARRANT)).seq)
            await until(partial(_in_force, house.laws, policy), seconds=10)
            assert await digest_of(inside) == bytes(policy.digest)
        with pytest.raises(ActRefused, match="stands so already"):
            await house.enactment.apply(TENANT, two, WARRANT)
        for wanted in (bytes(one.digest), bytes(two.digest)):
            back = await house.enactment.rollback(TENANT, WARRANT)
            assert back.now.digest == wanted
        back = await house.enactment.rollback(TENANT, WARRANT, bytes(one.digest).hex()[:12])
        assert (back.now.digest, back.now.seq) == (bytes(one.digest), back.seq)
        changes = (await house.enactment.laws(TENANT)).changes
        assert [each.change.before for each in changes[:2]] == [shipped, bytes(one.digest)]
        assert [each.seq for each in changes[:2]] == seqs
    assert inside.log.verified(tmp_path / "bundle").verdict is Found.VERIFIED


async def test_going_back_twice_at_once_goes_back_once(database: Database, tmp_path: Path) -> None:
    """Two who look at the same policy, or one who clicks twice, get the policy before it, and one of them is told so."""
    one, two = limited(tmp_path, 1), limited(tmp_path, 2)
    async with housed(database, tmp_path) as inside:
        enactment = inside.house.enactment
        for policy in (one, two):
            looked = await enactment.apply(TENANT, policy, WARRANT)
        both = [enactment.rollback(TENANT, WARRANT, since=looked.seq) for _ in range(2)]
        done, refused = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(done, InEffect) and isinstance(refused, ActRefused) and "look again" in str(refused)
        laws = await enactment.laws(TENANT)
        assert laws.in_force is not None and laws.in_force.digest == bytes(one.digest) and len(laws.changes) == 3


async def test_one_person_is_not_enough(database: Database, tmp_path: Path) -> None:
    """A policy that one person asks for and approves is on no record and in no force; nor is another tenant's."""
    async with housed(database, tmp_path) as inside:
        with pytest.raises(InvalidRecord, match="second person"):
            await inside.house.enactment.apply(TENANT, limited(tmp_path, 1), Warrant("why", "ada", " Ada "))
        foreign = policies.load(write(tmp_path, "foreign", CHILD.format(most=1).replace("acme", "other")))
        with pytest.raises(ActRefused, match="'other'"):
            await inside.house.enactment.apply(TENANT, foreign, WARRANT)
        with pytest.raises(ActRefused, match="nothing to go back from"):
            await inside.house.enactment.rollback(TENANT, WARRANT)
        with pytest.raises(ActRefused, match="without a share first"):
            await inside.house.enactment.apply(TENANT, limited(tmp_path, 1), WARRANT, share=0.5)
        assert (await inside.house.enactment.laws(TENANT)).changes == []


async def test_what_its_text_would_not_give_back_takes_no_force(database: Database, tmp_path: Path) -> None:
    """A policy that no gateway could read again from its record is on no record, and the one in force goes on."""
    sound = limited(tmp_path, 1)
    gate = Gate(id="g", modes=(policies.Mode.AR,), metric=Metric.LOGPROB_MIN, above=-inf, action=policies.Action.HOLD)
    unreadable = seal("unreadable", structs.replace(sound.document, gates=(gate,)))
    async with housed(database, tmp_path) as inside:
        await inside.house.enactment.apply(TENANT, sound, WARRANT)
        with pytest.raises(policies.PolicyError, match=r"gates\.g"):
            await inside.house.enactment.apply(TENANT, unreadable, WARRANT)
        assert len((await inside.house.enactment.laws(TENANT)).changes) == 1
        await until(partial(_in_force, inside.house.laws, sound), seconds=10)
        assert await digest_of(inside) == bytes(sound.digest)


async def test_a_share_is_tried(database: Database, tmp_path: Path) -> None:
    """On trial, a policy judges its share of request ids, the same ones always; the end of the trial leaves the other."""
    one, two = limited(tmp_path, 1), limited(tmp_path, 2)
    async with housed(database, tmp_path) as inside:
        house = inside.house
        await house.enactment.apply(TENANT, one, WARRANT)
        await house.enactment.apply(TENANT, two, WARRANT, share=0.25)
        await until(lambda: _on_trial(house.laws), seconds=10)
        ids = [uuid7() for _ in range(2000)]
        judged = [house.laws.policy_for(TENANT, request).digest for request in ids]
        assert set(judged) == {one.digest, two.digest}
        assert 0.2 < judged.count(two.digest) / len(judged) < 0.3
        assert judged == [house.laws.policy_for(TENANT, request).digest for request in ids]
        back = await house.enactment.rollback(TENANT, WARRANT)
        assert (back.now.digest, back.now.candidate) == (bytes(one.digest), None)
    assert inside.log.verified(tmp_path / "bundle").verdict is Found.VERIFIED


async def test_answers_to_one_request_are_judged_by_one_policy(database: Database, tmp_path: Path) -> None:
    """Of several answers that are asked for at once none falls to a trial alone: the share is one of requests."""
    one, two = limited(tmp_path, 1), limited(tmp_path, 2)
    async with housed(database, tmp_path) as inside:
        inside.house.laws.replace({TENANT: Standing(one, two, 0.5)})
        for _ in range(3):
            answer = await inside.ask(n=8)
            assert answer.status_code == 200
            assert len({each["palimpsest"]["policy"] for each in answer.json()["choices"]}) == 1


def _on_trial(book: Lawbook) -> bool:
    entry = book.entry(TENANT)
    return isinstance(entry, Standing) and entry.candidate is not None


async def test_a_change_without_its_tables_is_finished(database: Database, tmp_path: Path) -> None:
    """A process that died between record and tables leaves a change that the next start puts in force."""
    policy = limited(tmp_path, 1)
    async with housed(database, tmp_path) as inside:
        text = policies.written(policy)
        change = PolicyChange(bytes(inside.house.laws.shipped.digest), bytes(policy.digest), text, "why", "ada", "grace")
        await inside.house.lifecycle.record(TENANT, change)
        await inside.house._reloading.look()
        assert inside.house.laws.active(TENANT) is inside.house.laws.shipped
    async with housed(database, tmp_path) as inside:
        assert inside.house.laws.active(TENANT).digest == policy.digest


async def test_a_document_that_cannot_be_read_takes_no_force(database: Database, tmp_path: Path) -> None:
    """Whatever a record says, a text that is no policy leaves the active one; a start that has none serves nothing."""
    policy = limited(tmp_path, 1)
    async with housed(database, tmp_path) as inside:
        house = inside.house
        await house.enactment.apply(TENANT, policy, WARRANT)
        await house._reloading.look()
        await house.lifecycle.record(TENANT, _nonsense(bytes(policy.digest)))
        await house.enactment.finish(TENANT)
        await house._reloading.look()
        assert house.laws.active(TENANT).digest == policy.digest
        assert await digest_of(inside) == bytes(policy.digest)
    async with housed(database, tmp_path) as inside:
        answer = await inside.ask()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "policy_unavailable")
        await inside.house.enactment.rollback(TENANT, WARRANT)
        await inside.house._reloading.look()
        assert await digest_of(inside) == bytes(policy.digest)


async def test_a_trial_that_cannot_be_read_is_none(database: Database, tmp_path: Path) -> None:
    """Where only the policy on trial is no policy of this release, a start serves under the one in force, which it can read."""
    policy = limited(tmp_path, 1)
    async with housed(database, tmp_path) as inside:
        await inside.house.enactment.apply(TENANT, policy, WARRANT)
        await inside.house.lifecycle.record(TENANT, _nonsense(bytes(policy.digest), share=1 - 1e-12))
        await inside.house.enactment.finish(TENANT)
    async with housed(database, tmp_path) as inside:
        assert await digest_of(inside) == bytes(policy.digest)


def _nonsense(before: bytes, share: float | None = None) -> PolicyChange:
    text = '{"schema":"palimpsest.policy/9"}'
    return PolicyChange(before, hashlib.sha256(text.encode()).digest(), text, "why", "ada", "grace", share)


async def test_what_vanishes_from_the_table_stays_in_force(database: Database, tmp_path: Path) -> None:
    """A row that somebody removes changes nothing, for only a record may; and nothing is taken from an empty text."""
    policy = limited(tmp_path, 1)
    async with housed(database, tmp_path) as inside:
        await inside.house.enactment.apply(TENANT, policy, WARRANT)
        await inside.house._reloading.look()
        inside.house._shelf.project(TENANT, Laws())
        await inside.house._reloading.look()
        assert inside.house.laws.active(TENANT).digest == policy.digest
        assert inside.house._shelf.text(TENANT, bytes(32)) == ""


def test_a_running_generation_keeps_its_policy(tmp_path: Path) -> None:
    """What was admitted under one policy is judged under it to the end, though another has taken force meanwhile."""
    one, two = limited(tmp_path, 1), limited(tmp_path, 2)
    book, request = Lawbook(one), uuid7()
    kept = book.policy_for(TENANT, request)
    book.replace({TENANT: Standing(two)})
    assert (kept, book.policy_for(TENANT, request)) == (one, two)
