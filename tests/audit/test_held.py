"""Laws of the verifier about approvals: what the records of a held answer may say, and how each lie is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import pytest

from audit.approvals import (
    AfterRelease,
    ApprovalOpened,
    ApprovalRevoked,
    ApprovalVoided,
    Attached,
    Delegation,
    ResultAttached,
    bound,
    content_digest,
)
from audit.export import disclose_nothing
from audit.header import uuid7
from audit.verify import Report, Verdict, verify
from tests.audit.approval_bodies import HOUR, LATER_TEXT, NEEDED, TEXT, decided, delivered, ended, opened
from tests.audit.held_log import HeldLog
from tests.audit.samples import ORIGIN, START, TENANT, WHOLE_REQUEST

ONE = replace(NEEDED, quorum=1)
Tell: TypeAlias = Callable[[HeldLog, UUID, ApprovalOpened], int]
"""Records something and says which record is the lie."""


def judge(log: HeldLog, out: Path) -> Report:
    log.checkpoint()
    log.export(out)
    return verify(out, [log.signer.vkey], ORIGIN)


def released(log: HeldLog, generation: UUID, cycle: ApprovalOpened, *people: str) -> int:
    """The people approve, the answer leaves; the seq of its end."""
    signed = [log.step(generation, decided(cycle, person)) for person in people]
    before = sum(20 <= header.kind < 30 for header in log.headers if header.request == generation)
    return log.step(generation, ended(cycle, signed, before + 1))


def edit(log: HeldLog, generation: UUID, last: ApprovalOpened, editor: str = "grace", **change: Any) -> ApprovalOpened:
    """Somebody puts another text in its place."""
    log.step(generation, ApprovalVoided(last.cycle, "edited", editor, ""))
    said: dict[str, Any] = {
        "cycle": last.cycle + 1, "content": LATER_TEXT, "content_sha256": content_digest(LATER_TEXT),
        "contributors": (*last.contributors, editor),
    }  # fmt: skip
    following = bound(TENANT, generation, replace(last, **(said | change)))
    log.step(generation, following)
    return following


def test_a_released_answer_is_verified(tmp_path: Path) -> None:
    """Two leads approve, one having taken a decision back in between; the text leaves twice, for two requests."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys")
    log.step(generation, decided(cycle, "grace", decision="approve"))
    log.step(generation, ApprovalRevoked(1, cycle.binding, "grace", "too quick"))
    log.add(None, [Delegation(uuid7(START), "ada", "kay", (), START, START + HOUR, "on leave", revoked=False)], actor="ada")
    first = log.step(generation, decided(cycle, "kay", on_behalf_of="ada"))
    second = log.step(generation, decided(cycle, "grace"))
    log.step(generation, ended(cycle, (first, second), 6))
    log.step(generation, delivered(generation))
    again = uuid7(START)
    log.add(again, [Attached(generation, "openai.chat")])
    log.step(generation, replace(delivered(generation), request=again))
    log.step(generation, AfterRelease("recall", "ada", "wrong customer"))
    report = judge(log, tmp_path / "out")
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])


def test_cycles_follow_one_another(tmp_path: Path) -> None:
    """An edit, another policy and another model each begin a cycle of their own, of which the last is decided."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys", needed=(ONE,))
    log.step(generation, decided(cycle, "ada"))
    changes: tuple[tuple[str, dict[str, Any]], ...]
    changes = ("policy", {"policy_digest": bytes(32)}), ("model", {"weights_digest": bytes(32)})
    for why, change in changes:
        cycle = edit(log, generation, cycle) if why == "model" else cycle
        log.step(generation, ApprovalVoided(cycle.cycle, why, None, ""))
        cycle = bound(TENANT, generation, replace(cycle, cycle=cycle.cycle + 1, **change))
        log.step(generation, cycle)
    released(log, generation, cycle, "ada")
    log.step(generation, delivered(generation, LATER_TEXT))
    report = judge(log, tmp_path / "out")
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])


def without_quorum(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return released(log, generation, cycle, "ada")


def by_the_requester(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, decided(cycle, "gateway"))


def by_a_contributor(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, decided(cycle, "Linus"))


def for_a_contributor(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    log.add(None, [Delegation(uuid7(START), "linus", "kay", (), START, START + HOUR, "x", revoked=False)], actor="linus")
    return log.step(generation, decided(cycle, "kay", on_behalf_of="linus"))


def without_the_group(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, decided(cycle, "ada", groups=("interns",)))


def without_the_role(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, decided(cycle, "ada", roles=("operator",)))


def twice_by_one(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    log.step(generation, decided(cycle, "ada"))
    return log.step(generation, decided(cycle, "ADA"))


def for_nobody(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    ends = Delegation(uuid7(START), "ada", "kay", (), START, START + HOUR, "x", revoked=False)
    log.add(None, [ends, replace(ends, revoked=True)], actor="ada")
    return log.step(generation, decided(cycle, "kay", on_behalf_of="ada"))


def in_anothers_name(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, decided(cycle, "ada"), actor="mallory")


def in_another_cycle(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    edit(log, generation, cycle)
    return log.step(generation, decided(cycle, "ada"))


def moved_to_another_cycle(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    following = edit(log, generation, cycle)
    return log.step(generation, replace(decided(cycle, "ada"), cycle=following.cycle))


def counted_over_cycles(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    early = log.step(generation, decided(cycle, "ada"))
    following = edit(log, generation, cycle)
    late = log.step(generation, decided(following, "kay"))
    return log.step(generation, ended(following, (early, late), 6))


def counted_though_taken_back(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    seqs = [log.step(generation, decided(cycle, person)) for person in ("ada", "kay")]
    log.step(generation, ApprovalRevoked(1, cycle.binding, "kay", "no"))
    return log.step(generation, ended(cycle, seqs, 5))


def counted_twice(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    seq = log.step(generation, decided(cycle, "ada"))
    return log.step(generation, ended(cycle, (seq, seq), 3))


def taken_back_by_another(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    log.step(generation, decided(cycle, "ada"))
    return log.step(generation, ApprovalRevoked(1, cycle.binding, "kay", "no"))


def other_bytes(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    released(log, generation, cycle, "ada", "kay")
    return log.step(generation, delivered(generation, "rm -rf /"))


def bytes_of_another_length(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    following = edit(log, generation, cycle)
    released(log, generation, following, "ada", "kay")
    return log.step(generation, replace(delivered(generation, LATER_TEXT), bytes_released=3))


def delivered_before_the_end(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, delivered(generation))


def delivered_after_a_recall(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    released(log, generation, cycle, "ada", "kay")
    log.step(generation, AfterRelease("recall", "ada", "no"))
    return log.step(generation, delivered(generation))


def delivered_to_a_stranger(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    released(log, generation, cycle, "ada", "kay")
    return log.step(generation, replace(delivered(generation), request=uuid7(START)))


def delivered_to_the_neighbour(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    released(log, generation, cycle, "ada", "kay")
    other, again = log.hold(), uuid7(START)
    log.add(again, [Attached(other, "openai.chat")])
    return log.step(generation, replace(delivered(generation), request=again))


def swapped_content(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    seqs = [log.step(generation, decided(cycle, person)) for person in ("ada", "kay")]
    return log.step(generation, ended(cycle, seqs, 4, content_sha256=content_digest(LATER_TEXT)))


def decided_after_the_end(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    released(log, generation, cycle, "ada", "kay")
    return log.step(generation, decided(cycle, "alan"))


def ended_twice(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    log.step(generation, ended(cycle, (), 2, outcome="withheld", why="cancelled", person="ada"), "ada")
    return released(log, generation, cycle, "ada", "kay")


def rejected_by_nobody(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, ended(cycle, (), 2, outcome="withheld", why="rejected"))


def released_over_a_rejection(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    log.step(generation, decided(cycle, "alan", decision="reject", reason_code="wrong"))
    return released(log, generation, cycle, "ada", "kay")


def expired_too_soon(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, ended(cycle, (), 2, outcome="withheld", why="expired"))


def released_because_expired(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, ended(cycle, (), 2, why="expired"))


def miscounted(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    seqs = [log.step(generation, decided(cycle, person)) for person in ("ada", "kay")]
    return log.step(generation, ended(cycle, seqs, 3))


def glass_that_nobody_broke(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    seq = log.step(generation, decided(cycle, "ada"))
    return log.step(generation, ended(cycle, (seq,), 3, broke_glass=True))


def glass_broken_by_the_author(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, decided(cycle, "linus", method="break_glass", reason="now"))


def review_of_ones_own_glass(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    seq = log.step(generation, decided(cycle, "ada", method="break_glass", reason="now"))
    log.step(generation, ended(cycle, (seq,), 3, broke_glass=True))
    return log.step(generation, AfterRelease("review", "ada", "it was fine"))


def edited_by_a_stranger(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    edit(log, generation, cycle, contributors=cycle.contributors)
    return len(log.rows) - 1


def approved_by_the_editor(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    following = edit(log, generation, cycle, "grace")
    return log.step(generation, decided(following, "grace"))


def changed_without_an_edit(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    log.step(generation, ApprovalVoided(1, "policy", None, ""))
    said: dict[str, Any] = {"content": LATER_TEXT, "content_sha256": content_digest(LATER_TEXT), "policy_digest": bytes(32)}
    return log.step(generation, bound(TENANT, generation, replace(cycle, cycle=2, **said)))


def voided_for_nothing(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    log.step(generation, ApprovalVoided(1, "policy", None, ""))
    return log.step(generation, bound(TENANT, generation, replace(cycle, cycle=2)))


def begun_twice(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, bound(TENANT, generation, replace(cycle, cycle=2)))


def a_cycle_left_out(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    edit(log, generation, cycle, cycle=3)
    return len(log.rows) - 1


def decided_while_void(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    log.step(generation, ApprovalVoided(1, "policy", None, ""))
    return log.step(generation, decided(cycle, "ada"))


def lent_inside_a_request(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, Delegation(uuid7(START), "ada", "kay", (), 1, 2, "x", revoked=False), "ada")


LIES = (
    (without_quorum, "without the 2 persons"), (by_the_requester, "involved in the answer"),
    (by_a_contributor, "involved in the answer"), (for_a_contributor, "involved in the answer"),
    (without_the_group, "without the role or a group"), (without_the_role, "without the role or a group"),
    (twice_by_one, "has decided already"), (for_nobody, "had not delegated"), (in_anothers_name, "recorded by 'mallory'"),
    (in_another_cycle, "another cycle or content"), (moved_to_another_cycle, "another cycle or content"),
    (counted_over_cycles, "no decisions that stand"), (counted_though_taken_back, "no decisions that stand"),
    (counted_twice, "each once"), (taken_back_by_another, "does not stand"), (other_bytes, "not the content that was approved"),
    (bytes_of_another_length, "not the length"), (delivered_before_the_end, "without having been released"),
    (delivered_after_a_recall, "after it was recalled"), (delivered_to_a_stranger, "not attached to it"),
    (delivered_to_the_neighbour, "another generation answers"), (swapped_content, "other content"),
    (decided_after_the_end, "released already"), (ended_twice, "withheld already"), (rejected_by_nobody, "nobody rejected it"),
    (released_over_a_rejection, "although a rejection stands"), (expired_too_soon, "before it had"),
    (released_because_expired, "do not allow"), (miscounted, "declares 3 records"),
    (glass_that_nobody_broke, "that it cites breaks one"), (glass_broken_by_the_author, "could not break the glass"),
    (review_of_ones_own_glass, "the same person broke"), (edited_by_a_stranger, "needs its new content"),
    (approved_by_the_editor, "involved in the answer"), (changed_without_an_edit, "although nobody edited it"),
    (voided_for_nothing, "it is the same"), (begun_twice, "is not over"), (a_cycle_left_out, "was the last"),
    (decided_while_void, "was void"), (lent_inside_a_request, "belongs to no request"),
)  # fmt: skip


@pytest.mark.parametrize(("tell", "named"), LIES, ids=[tell.__name__ for tell, _ in LIES])
def test_a_lie_about_an_approval_is_found_and_named(tmp_path: Path, tell: Tell, named: str) -> None:
    """Whoever owns the signing key may record anything; what the records before forbid is tampering, at that very record."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys")
    seq = tell(log, generation, cycle)
    report = judge(log, tmp_path / "out")
    assert report.verdict is Verdict.TAMPERED
    assert any(finding.seq == seq and named in finding.message for finding in report.findings), report.findings


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"first_seq": 1}, "not the records"), ({"last_seq": 9}, "not the records"),
        ({"draft_root": bytes(32)}, "not the records"),
        ({"requester": "nobody"}, "as who asked"), ({"policy_digest": bytes(32)}, "another policy"),
        ({"weights_digest": bytes(32)}, "another model"), ({"expires_at": START}, "before it begins"),
        ({"cycle": 2}, "none before it"),
    ],
)  # fmt: skip
def test_a_cycle_is_bound_to_what_was_drafted(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    """The first cycle names the drafts, policy, model and requester that the records before it show."""
    log, _, _ = HeldLog.begun(tmp_path / "keys", **change)
    (finding,) = judge(log, tmp_path / "out").findings
    assert finding.seq == len(log.rows) - 1 and named in finding.message


def test_a_binding_is_that_of_its_own_cycle(tmp_path: Path) -> None:
    """A cycle of which a single field was changed, or that stands in another request, has not the binding that it states."""
    log = HeldLog(tmp_path / "keys")
    generation, other = log.hold(), log.hold()
    cycle = log.cycle(generation)
    log.step(generation, replace(cycle, needed=(ONE,)))
    log.step(other, replace(log.cycle(other), binding=cycle.binding))
    report = judge(log, tmp_path / "out")
    assert [finding.message for finding in report.findings] == ["its binding is not that of what it puts before people"] * 2


def test_only_held_answers_are_approved(tmp_path: Path) -> None:
    """An approval of an answer that nobody held, or before its request is closed, is tampering."""
    log = HeldLog(tmp_path / "keys")
    free, early = uuid7(START), uuid7(START)
    log.add(free, WHOLE_REQUEST)
    log.add(early, WHOLE_REQUEST[:8])
    cycle = log.cycle(free)
    log.step(free, cycle)
    log.step(early, cycle)
    report = judge(log, tmp_path / "out")
    messages = [finding.message for finding in report.findings]
    assert messages == ["it is about an approval, and the answer was not held",
                        "a record of an approval stands before the end of its request"]  # fmt: skip


def test_an_expired_approval_goes_as_its_policy_says(tmp_path: Path) -> None:
    """With `on_expire = release` the end of its time lets it go, and only then."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys", on_expire="release", expires_at=START + 12)
    log.step(generation, ended(cycle, (), 2, why="expired"))
    log.step(generation, delivered(generation, TEXT))
    assert judge(log, tmp_path / "out").verdict is Verdict.VERIFIED


def test_a_broken_glass_is_told_until_it_was_reviewed(tmp_path: Path) -> None:
    """A release on one person's word is verified, and listed as unreviewed until another person has looked at it."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys")
    seq = log.step(generation, decided(cycle, "ada", roles=("operator",), groups=(), method="break_glass", reason="fire"))
    log.step(generation, ended(cycle, (seq,), 3, broke_glass=True))
    log.step(generation, delivered(generation))
    report = judge(log, tmp_path / "due")
    assert report.verdict is Verdict.VERIFIED and any(str(generation) in line and "glass" in line for line in report.unchecked)
    log.step(generation, AfterRelease("review", "kay", "there was a fire"))
    report = judge(log, tmp_path / "done")
    assert report.verdict is Verdict.VERIFIED and not any("glass" in line for line in report.unchecked)


def test_a_required_test_result_has_passed(tmp_path: Path) -> None:
    """Without a passed result of the cycle the release is a lie; of results of one name the last counts."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys", needed=(replace(ONE, test_result_required=True),))
    for passed in (False, True):
        log.step(generation, ResultAttached(1, cycle.binding, "ci", "unit", passed, ""))
    released(log, generation, cycle, "ada")
    assert judge(log, tmp_path / "good").verdict is Verdict.VERIFIED
    other, untested, bare = HeldLog.begun(tmp_path / "other", needed=(replace(ONE, test_result_required=True),))
    other.step(untested, ResultAttached(1, bare.binding, "ci", "unit", False, ""))
    released(other, untested, bare, "ada")
    (finding,) = judge(other, tmp_path / "bad").findings
    assert "without the test result" in finding.message


def test_a_delegation_that_cannot_be_read_leaves_its_decisions_unchecked(tmp_path: Path) -> None:
    """Where the body of a delegation is gone nobody says that a decision for another was right: it is counted as unchecked."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys")
    lent = Delegation(uuid7(START), "ada", "kay", (), START, START + HOUR, "x", revoked=False)
    log.add(None, [lent], actor="ada")
    place = len(log.rows) - 1
    log.step(generation, decided(cycle, "kay", on_behalf_of="ada"))
    said = "on whose behalf 1 decisions were made (not every delegation can be read here)"
    assert said not in judge(log, tmp_path / "whole").unchecked
    log.rows[place] = replace(log.rows[place], body=None)
    report = judge(log, tmp_path / "without")
    assert said in report.unchecked
    assert [(finding.seq, finding.verdict) for finding in report.findings] == [(place, Verdict.TAMPERED)]


def test_an_undisclosed_approval_is_not_judged(tmp_path: Path) -> None:
    """Where bodies stay sealed nothing of an approval is claimed, and the report says so."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys")
    log.step(generation, decided(cycle, "linus"))
    log.checkpoint()
    log.export(tmp_path / "out", disclose_nothing)
    report = verify(tmp_path / "out", [log.signer.vkey], ORIGIN)
    assert report.verdict is Verdict.VERIFIED and any("approvals of 1" in line for line in report.unchecked)


def test_every_decision_names_its_binding() -> None:
    """A decision made over one cycle cannot be read as one over another: their bindings differ in every field that matters."""
    cycles = [opened(), opened(cycle=2), opened(on_expire="release"), opened(expires_at=START + 1), opened(uuid7(START))]
    assert len({decided(cycle, "ada").binding for cycle in cycles}) == len(cycles)
