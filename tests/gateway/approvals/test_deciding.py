"""Laws of people deciding about held answers, through the real service over a real log that the verifier then reads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from audit.approvals import ApprovalVoided, ApprovedDelivery, Delegation, content_digest
from audit.header import uuid7
from audit.verify import Verdict
from audit.writer import Entry
from gateway.approvals.case import State
from gateway.approvals.choices import Approve, BreakGlass, Cleared, Delegate, NotDecided, NotReleased, Reject, TestResult
from gateway.authenticate import Subject
from gateway.law.lawbook import Standing
from tests.audit.writer_samples import TENANT
from tests.gateway.approvals.bureau import BRIEF, FINANCE, KEY, LENIENT, ONE, TESTED, TEXT, TWO_LEADS, beside, bureau, staff
from tests.gateway.tenant_log import TenantLog
from tests.postgres_fixtures import Database
from tests.waiting import until

SHA = content_digest(TEXT)
YES = Approve(SHA)


def code(answer: object) -> str:
    assert isinstance(answer, NotDecided), answer
    return answer.code


def loan(*groups: str) -> Delegate:
    """The right to decide, lent to alan for an hour."""
    now = datetime.now(UTC)
    return Delegate("alan", now - timedelta(minutes=1), now + timedelta(hours=1), "on leave", groups)


async def test_a_quorum_lets_an_answer_go(database: Database, tmp_path: Path) -> None:
    """Two distinct leads and nobody less; the very text leaves, twice if it is fetched twice, and the log verifies."""
    async with bureau(database, tmp_path) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        assert (await inside.case(generation)).state is State.PENDING
        assert isinstance(await approvals.release(TENANT, generation, generation), NotReleased)
        first = await approvals.decide(TENANT, generation, YES, people["ada"])
        assert not isinstance(first, NotDecided) and first.state is State.PENDING and len(first.lacking) == 1
        assert code(await approvals.decide(TENANT, generation, YES, people["ada"])) == "already_decided"
        assert isinstance(await approvals.release(TENANT, generation, generation), NotReleased)
        second = await approvals.decide(TENANT, generation, YES, people["grace"])
        assert not isinstance(second, NotDecided) and second.state is State.APPROVED
        for _ in range(2):
            given = await approvals.release(TENANT, generation, generation)
            assert isinstance(given, Cleared) and given.text == TEXT and given.case.state is State.RELEASED
        assert code(await approvals.decide(TENANT, generation, YES, people["kay"])) == "ended"
    delivered = [body for body in inside.log.bodies(generation) if isinstance(body, ApprovedDelivery)]
    assert [each.sha256_released for each in delivered] == [SHA, SHA]
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("who", "why"), [("linus", "excluded"), ("alan", "not_permitted"), ("olga", "not_permitted"), ("eve", "unknown")]
)
async def test_who_cannot_decide(database: Database, tmp_path: Path, who: str, why: str) -> None:
    """Not the owner of the key, nobody without role or group, and for another tenant's people there is no such approval."""
    async with bureau(database, tmp_path) as inside:
        generation = await inside.held()
        assert code(await inside.approvals.decide(TENANT, generation, YES, inside.people[who])) == why
        assert (await inside.case(generation)).records == 1


async def test_system_people_serve_every_tenant(database: Database, tmp_path: Path) -> None:
    """A user of tenant `system` decides under the name that records give one."""
    async with bureau(database, tmp_path, ONE) as inside:
        generation = await inside.held()
        case = await inside.approvals.decide(TENANT, generation, YES, inside.people["root"])
        assert not isinstance(case, NotDecided) and case.signatures[0].decided.person == "system/root"


async def test_a_rejection_ends_it_in_the_reviewers_words(database: Database, tmp_path: Path) -> None:
    """One rejection is enough, its reason is kept for the client, and nothing can be decided or released any more."""
    async with bureau(database, tmp_path) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        assert code(await approvals.decide(TENANT, generation, Reject(SHA, " "), people["ada"])) == "not_permitted"
        case = await approvals.decide(TENANT, generation, Reject(SHA, "unsafe", "drops the table"), people["ada"])
        assert not isinstance(case, NotDecided) and (case.state, case.words) == (State.REJECTED, "drops the table")
        assert case.ended is not None and case.ended.why == "rejected"
        assert code(await approvals.decide(TENANT, generation, YES, people["grace"])) == "ended"
        assert isinstance(await approvals.release(TENANT, generation, generation), NotReleased)
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_an_edit_begins_anew(database: Database, tmp_path: Path) -> None:
    """Another text has another hash and needs its own quorum, to which the editor cannot belong."""
    async with bureau(database, tmp_path) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        await approvals.decide(TENANT, generation, YES, people["ada"])
        case = await approvals.edit(TENANT, generation, "def kept(): ...", "named it", people["grace"], SHA)
        assert not isinstance(case, NotDecided) and (case.opened.cycle, case.signatures) == (2, ())
        assert code(await approvals.decide(TENANT, generation, YES, people["kay"])) == "stale_content"
        again = Approve(case.content_sha256)
        assert code(await approvals.decide(TENANT, generation, again, people["grace"])) == "excluded"
        for name in ("ada", "kay"):
            await approvals.decide(TENANT, generation, again, people[name])
        given = await approvals.release(TENANT, generation, generation)
        assert isinstance(given, Cleared) and given.text == "def kept(): ..."
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_a_trial_voids_nothing_that_the_policy_in_force_holds(database: Database, tmp_path: Path) -> None:
    """What was held before another policy is tried keeps its terms and its signatures, also where it would fall to that one."""
    async with bureau(database, tmp_path) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        await approvals.decide(TENANT, generation, YES, people["ada"])
        inside.laws.replace({TENANT: Standing(TWO_LEADS, ONE, 1 - 1e-12)})
        done = await approvals.decide(TENANT, generation, YES, people["grace"])
        assert not isinstance(done, NotDecided) and (done.opened.cycle, done.state) == (1, State.APPROVED)
        inside.enact(ONE)
        assert isinstance(await approvals.release(TENANT, generation, generation), NotReleased)
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_another_policy_or_model_voids_what_was_decided(database: Database, tmp_path: Path) -> None:
    """At the release itself, and at a decision: what was bound to another policy or model does not count."""
    async with bureau(database, tmp_path) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        for name in ("ada", "grace"):
            await approvals.decide(TENANT, generation, YES, people[name])
        inside.enact(ONE)
        refused = await approvals.release(TENANT, generation, generation)
        assert isinstance(refused, NotReleased) and refused.case is not None and refused.case.state is State.PENDING
        assert (refused.case.opened.cycle, refused.case.opened.needed[0].quorum) == (2, 1)
        async with beside(inside.log, ONE, people, weights=bytes(32)) as other:
            assert code(await other.approvals.decide(TENANT, generation, YES, people["ada"])) == "stale_binding"
            assert (await other.case(generation)).opened.needed[0].because == ("rule:eyes", "policy_changed", "model_changed")
            done = await other.approvals.decide(TENANT, generation, YES, people["ada"])
            assert not isinstance(done, NotDecided) and done.state is State.APPROVED
            assert isinstance(await other.approvals.release(TENANT, generation, generation), Cleared)
    voided = [body.why for body in inside.log.bodies(generation) if isinstance(body, ApprovalVoided)]
    assert voided == ["policy", "model"]
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_to_look_with_another_model_voids_nothing(database: Database, tmp_path: Path) -> None:
    """Who only looks where another model is loaded voids nothing, and binds no cycle to that model if the policy changed."""
    async with bureau(database, tmp_path) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        await approvals.decide(TENANT, generation, YES, people["ada"])
        async with beside(inside.log, TWO_LEADS, people, weights=bytes(32)) as other:
            seen = await other.approvals.current(TENANT, generation)
            assert seen is not None and (seen.opened.cycle, len(seen.signatures)) == (1, 1)
            other.enact(ONE)
            renewed = await other.approvals.current(TENANT, generation)
            assert renewed is not None and (renewed.opened.cycle, renewed.opened.weights_digest) == (2, inside.weights)
        inside.enact(ONE)
        case = await approvals.decide(TENANT, generation, YES, people["grace"])
        assert not isinstance(case, NotDecided) and case.state is State.APPROVED
        assert isinstance(await approvals.release(TENANT, generation, generation), Cleared)
    voided = [body.why for body in inside.log.bodies(generation) if isinstance(body, ApprovalVoided)]
    assert voided == ["policy"]
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_a_decision_is_taken_back_until_the_end(database: Database, tmp_path: Path) -> None:
    """Whoever decided may take it back, whereupon the quorum is gone; nobody takes back another's, or a release."""
    async with bureau(database, tmp_path) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        for name in ("ada", "grace"):
            await approvals.decide(TENANT, generation, YES, people[name])
        assert code(await approvals.revoke(TENANT, generation, "no", people["kay"])) == "not_pending"
        case = await approvals.revoke(TENANT, generation, "second thoughts", people["grace"])
        assert not isinstance(case, NotDecided) and case.state is State.PENDING
        assert isinstance(await approvals.release(TENANT, generation, generation), NotReleased)
        await approvals.decide(TENANT, generation, YES, people["grace"])
        assert isinstance(await approvals.release(TENANT, generation, generation), Cleared)
        assert code(await approvals.revoke(TENANT, generation, "too late", people["ada"])) == "ended"
        recalled = await approvals.after_release(TENANT, generation, "recall", "wrong customer", people["ada"])
        assert not isinstance(recalled, NotDecided) and recalled.recalled
        assert isinstance(await approvals.release(TENANT, generation, generation), NotReleased)
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_a_right_is_lent_for_a_time(database: Database, tmp_path: Path) -> None:
    """A delegate decides in the delegator's right and under both exclusions; the two count once, and a loan can be ended."""
    async with bureau(database, tmp_path) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        hers, his, nobodys = (Approve(SHA, on_behalf_of=name) for name in ("ada", "linus", "kay"))
        for name in ("ada", "linus"):
            assert not isinstance(await approvals.delegate(TENANT, loan("leads"), people[name]), NotDecided)
        lent = (await approvals.delegations(TENANT))[0]
        assert code(await approvals.decide(TENANT, generation, nobodys, people["alan"])) == "not_permitted"
        assert code(await approvals.decide(TENANT, generation, his, people["alan"])) == "excluded"
        case = await approvals.decide(TENANT, generation, hers, people["alan"])
        assert not isinstance(case, NotDecided) and case.signatures[0].decided.groups == ("leads",)
        assert code(await approvals.decide(TENANT, generation, YES, people["ada"])) == "already_decided"
        assert code(await approvals.end_delegation(TENANT, lent.delegation, people["kay"])) == "unknown"
        assert not isinstance(await approvals.end_delegation(TENANT, lent.delegation, people["ada"]), NotDecided)
        await approvals.revoke(TENANT, generation, "let her", people["alan"])
        assert code(await approvals.decide(TENANT, generation, hers, people["alan"])) == "not_permitted"
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_nobody_decides_blind(database: Database, tmp_path: Path) -> None:
    """Who may read no answer is lent no right to decide about one, and an earlier loan to such a person gives none."""
    async with bureau(database, tmp_path, ONE) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        blind = replace(loan(), to="paul")
        assert code(await approvals.delegate(TENANT, blind, people["ada"])) == "not_permitted"
        starts, ends = (int(moment.timestamp() * 1_000_000) for moment in (blind.starts_at, blind.ends_at))
        lent = Delegation(uuid7(), "ada", "paul", (), starts, ends, blind.reason, revoked=False)
        await inside.writer.append([Entry(TENANT, None, "ada", None, lent)])
        refused = await approvals.decide(TENANT, generation, Approve(SHA, on_behalf_of="ada"), people["paul"])
        assert code(refused) == "not_permitted" and isinstance(refused, NotDecided) and "read the answer" in refused.message


async def test_a_right_lent_for_groups_reaches_no_further(database: Database, tmp_path: Path) -> None:
    """Where an approval names no group, a loan for some groups is no right to decide; one without limits is."""
    async with bureau(database, tmp_path, ONE) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        hers = Approve(SHA, on_behalf_of="ada")
        assert not isinstance(await approvals.delegate(TENANT, loan("leads"), people["ada"]), NotDecided)
        for choice in (hers, Reject(SHA, "unsafe", on_behalf_of="ada")):
            assert code(await approvals.decide(TENANT, generation, choice, people["alan"])) == "not_permitted"
        assert not isinstance(await approvals.delegate(TENANT, loan(), people["ada"]), NotDecided)
        case = await approvals.decide(TENANT, generation, hers, people["alan"])
        assert not isinstance(case, NotDecided) and case.state is State.APPROVED
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_what_one_person_lends_another_adds_up(database: Database, tmp_path: Path) -> None:
    """Two loans for a group each are a right in both groups, and the one that is ended counts no more."""
    async with bureau(database, tmp_path, FINANCE) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        for group in ("legal", "finance"):
            assert not isinstance(await approvals.delegate(TENANT, loan(group), people["ruth"]), NotDecided)
        hers = Approve(SHA, on_behalf_of="ruth")
        case = await approvals.decide(TENANT, generation, hers, people["alan"])
        assert not isinstance(case, NotDecided) and case.state is State.APPROVED
        assert case.signatures[0].decided.groups == ("finance", "legal")
        await approvals.revoke(TENANT, generation, "let her", people["alan"])
        lent = (await approvals.delegations(TENANT))[1]
        assert not isinstance(await approvals.end_delegation(TENANT, lent.delegation, people["ruth"]), NotDecided)
        assert code(await approvals.decide(TENANT, generation, hers, people["alan"])) == "not_permitted"
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_the_glass_is_broken_by_one_and_looked_at_by_another(database: Database, tmp_path: Path) -> None:
    """An operator or approver who is not involved may let it go with a reason; it is flagged until another has looked."""
    async with bureau(database, tmp_path) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        assert code(await approvals.decide(TENANT, generation, BreakGlass(SHA, " "), people["olga"])) == "not_permitted"
        assert code(await approvals.decide(TENANT, generation, BreakGlass(SHA, "now"), people["linus"])) == "excluded"
        case = await approvals.decide(TENANT, generation, BreakGlass(SHA, "the house is on fire"), people["olga"])
        assert not isinstance(case, NotDecided) and (case.state, case.broke_glass) == (State.APPROVED, True)
        given = await approvals.release(TENANT, generation, generation)
        assert isinstance(given, Cleared) and given.case.review_due
        assert code(await approvals.after_release(TENANT, generation, "review", "fine", people["olga"])) == "excluded"
        report = inside.log.verified(tmp_path / "due")
        assert report.verdict is not Verdict.TAMPERED and any("glass" in line for line in report.unchecked)
        looked = await approvals.after_release(TENANT, generation, "review", "there was a fire", people["ada"])
        assert not isinstance(looked, NotDecided) and not looked.review_due
    assert inside.log.verified(tmp_path / "done").verdict is Verdict.VERIFIED


async def test_a_required_result_comes_first(database: Database, tmp_path: Path) -> None:
    """Nobody approves before a test passed; who is involved, or only writes policies, tests nothing; a failure undoes it."""
    async with bureau(database, tmp_path, TESTED) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        assert code(await approvals.decide(TENANT, generation, YES, people["ada"])) == "test_required"
        passed, failed = (TestResult(SHA, "unit", good) for good in (True, False))
        assert code(await approvals.attach_result(TENANT, generation, passed, people["paul"])) == "not_permitted"
        assert code(await approvals.attach_result(TENANT, generation, passed, people["linus"])) == "excluded"
        await approvals.attach_result(TENANT, generation, failed, people["kay"])
        assert code(await approvals.decide(TENANT, generation, YES, people["ada"])) == "test_required"
        await approvals.attach_result(TENANT, generation, passed, people["kay"])
        case = await approvals.decide(TENANT, generation, YES, people["ada"])
        assert not isinstance(case, NotDecided) and case.state is State.APPROVED
        await approvals.attach_result(TENANT, generation, failed, people["kay"])
        assert isinstance(await approvals.release(TENANT, generation, generation), NotReleased)
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_who_asked_may_give_it_up(database: Database, tmp_path: Path) -> None:
    """The key that asked, its owner and whoever serves may cancel; another key may not know that there is anything."""
    async with bureau(database, tmp_path) as inside:
        approvals, generation, other = inside.approvals, await inside.held(), await inside.held()
        assert code(await approvals.cancel(TENANT, generation, Subject(TENANT, "key-2"))) == "unknown"
        assert code(await approvals.cancel(TENANT, generation, inside.people["eve"])) == "unknown"
        for held, by in ((generation, Subject(TENANT, KEY)), (other, inside.people["linus"])):
            case = await approvals.cancel(TENANT, held, by)
            assert not isinstance(case, NotDecided) and case.state is State.CANCELLED
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_what_nobody_decides_in_time_stays(database: Database, tmp_path: Path) -> None:
    """Once its time is over an answer that was approved stays too, but where the policy says that it goes."""
    async with bureau(database, tmp_path, BRIEF) as inside:
        approvals, people, generation = inside.approvals, inside.people, await inside.held()
        await approvals.decide(TENANT, generation, YES, people["ada"])
        inside.enact(LENIENT)
        going = await inside.held()
        inside.enact(BRIEF)

        async def over(held: UUID) -> bool:
            case = await inside.approvals.current(TENANT, held)
            return case is not None and case.state.ended

        await until(lambda: over(generation))
        assert (await inside.case(generation)).state is State.EXPIRED
        assert isinstance(await approvals.release(TENANT, generation, generation), NotReleased)
        inside.enact(LENIENT)
        await until(lambda: over(going))
        given = await approvals.release(TENANT, going, going)
        assert isinstance(given, Cleared) and given.case.ended is not None and given.case.ended.why == "expired"
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_another_policy_gives_no_time_to_what_is_over(database: Database, tmp_path: Path) -> None:
    """What was to be rejected by now is rejected; what was to leave by itself does not leave under another policy."""
    async with bureau(database, tmp_path, BRIEF) as inside:
        late = await inside.held()
        inside.enact(LENIENT)
        generous = await inside.held()
        await asyncio.sleep(1.2)
        inside.enact(ONE)
        assert code(await inside.approvals.decide(TENANT, late, YES, inside.people["alan"])) == "ended"
        ended = await inside.case(late)
        assert (ended.state, ended.opened.cycle) == (State.EXPIRED, 1)
        assert isinstance(await inside.approvals.release(TENANT, generous, generous), NotReleased)
        asked = await inside.case(generous)
        assert (asked.state, asked.opened.cycle, asked.opened.on_expire) == (State.PENDING, 2, "reject")
    assert inside.log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_two_processes_count_everybody_once(database: Database, tmp_path: Path) -> None:
    """Both processes decide for the same people at the same moment: each person counts once, and it is released once."""
    log, people = TenantLog(database, tmp_path / "keys"), staff(database)
    async with beside(log, TWO_LEADS, people) as here, beside(log, TWO_LEADS, people) as there:
        generation = await here.held()
        decisions = [
            each.approvals.decide(TENANT, generation, YES, people[name]) for name in ("ada", "grace") for each in (here, there)
        ]
        answers = await asyncio.gather(*decisions)
        assert sorted(isinstance(answer, NotDecided) for answer in answers) == [False, False, True, True]
        given = await asyncio.gather(*(each.approvals.release(TENANT, generation, generation) for each in (here, there)))
        assert all(isinstance(each, Cleared) for each in given)
        assert (await here.case(generation)).records == 6
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_whoever_waits_hears_of_every_process(database: Database, tmp_path: Path) -> None:
    """A wait ends with the decision, made here or in another process, or when patience does."""
    log, people = TenantLog(database, tmp_path / "keys"), staff(database)
    async with beside(log, ONE, people) as here, beside(log, ONE, people) as there:
        watching = asyncio.create_task(here.approvals.run())
        first, second, third = [await here.held() for _ in range(3)]
        waits = [asyncio.create_task(here.approvals.settled(TENANT, each, 30.0)) for each in (first, second)]
        still = await here.approvals.settled(TENANT, third, 0.01)
        await here.approvals.decide(TENANT, first, YES, people["ada"])
        await there.approvals.decide(TENANT, second, YES, people["ada"])
        cases = await asyncio.gather(*waits)
        watching.cancel()
        await asyncio.wait({watching})
    assert ([case.state for case in cases], still.state) == ([State.APPROVED, State.APPROVED], State.PENDING)


async def test_another_process_finds_all_that_was_recorded(database: Database, tmp_path: Path) -> None:
    """Nothing of a case is in memory: a service that starts anew on the log goes on where the one before died."""
    log, people = TenantLog(database, tmp_path / "keys"), staff(database)
    async with beside(log, TWO_LEADS, people) as before:
        generation = await before.held()
        await before.approvals.decide(TENANT, generation, YES, people["ada"])
    async with beside(log, TWO_LEADS, people) as after:
        await after.approvals.decide(TENANT, generation, YES, people["grace"])
        given = await after.approvals.release(TENANT, generation, generation)
        assert isinstance(given, Cleared) and given.text == TEXT


async def test_there_is_no_approval_of_what_was_never_held(database: Database, tmp_path: Path) -> None:
    """An unknown generation is nobody's approval."""
    async with bureau(database, tmp_path) as inside:
        nothing = uuid7()
        assert await inside.approvals.find(TENANT, nothing) is None
        assert code(await inside.approvals.decide(TENANT, nothing, YES, inside.people["ada"])) == "unknown"
        assert await inside.approvals.release(TENANT, nothing, nothing) == NotReleased(None, "there is no such approval")
