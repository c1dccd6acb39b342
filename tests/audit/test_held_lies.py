"""Laws of the verifier about approvals: how each lie in the records of a held answer is named."""

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
    bound,
    content_digest,
)
from audit.header import uuid7
from audit.verify import Verdict
from tests.audit.approval_bodies import HOUR, LATER_TEXT, decided, delivered, ended
from tests.audit.held_log import HeldLog, edit, judge, released
from tests.audit.samples import START, TENANT

Tell: TypeAlias = Callable[[HeldLog, UUID, ApprovalOpened], int]
"""Records something and says which record is the lie."""


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
