"""Laws of the verifier about approvals: what the records of a held answer may say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.approvals import (
    AfterRelease,
    ApprovalRevoked,
    ApprovalVoided,
    Attached,
    Delegation,
    ResultAttached,
    bound,
)
from audit.export import disclose_nothing
from audit.header import uuid7
from audit.verify import Verdict, verify
from tests.audit.approval_bodies import HOUR, LATER_TEXT, NEEDED, TEXT, decided, delivered, ended, opened
from tests.audit.held_log import HeldLog, edit, judge, released
from tests.audit.samples import ORIGIN, START, TENANT, WHOLE_REQUEST

ONE = replace(NEEDED, quorum=1)


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
