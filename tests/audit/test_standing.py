"""What acts forbid one another, and how content that is gone is explained."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from audit.absences import Absences
from audit.acts import Anchored, Erasure, HoldPlaced, HoldReleased, PolicyChange, RetentionRule, Retirement, commit_to
from audit.header import Header, StoredRecord, decode_header, uuid7
from audit.laws import InForce
from audit.records import Body, Kind, PolicyDecision, kind_of
from audit.standing import DAY, KINDS, Retired, Standing
from audit.verify import Report, Verdict, verify
from tests.audit.samples import HOLD, ORIGIN, SALT, SAMPLES, START, TWO, Log

PLACED = HoldPlaced(HOLD, "key-1", "case 7", "ada")
WHOLE = dataclasses.replace(PLACED, subject=None)
RELEASED = HoldReleased(HOLD, "closed", **TWO)
ERASED = Erasure(commit_to("key-1", SALT), SALT, ("k1", "k2"), "asked to", **TWO)
OTHER = dataclasses.replace(ERASED, subject=commit_to("key-2", SALT))
RULE = RetentionRule(10, "ten days", **TWO)
RETIRED = Retirement(rule=0, before=START - 10 * DAY, first=0, last=0, requested_by="ada")


def header(seq: int, kind: int = 8, actor: str = "ada", key_id: str = "k1", ts: int = START) -> Header:
    """A header whose place and key matter."""
    return Header("acme", seq, ts, uuid7(START), None, kind, 1, actor, None, key_id, 28, bytes(32))


def told(acts: Sequence[Body]) -> list[str]:
    """What each act, one a record from seq 0 on, contradicts."""
    standing = Standing()
    return [text for seq, act in enumerate(acts) for text in standing.add(header(seq, kind_of(act)), act)]


@pytest.mark.parametrize("kind", sorted({kind for kind in SAMPLES if kind >= 40} - KINDS - {Kind.ANCHORED}))
def test_other_kinds_change_nothing_that_stands(kind: Kind) -> None:
    """An act of a kind that is passed over when what stands is asked leaves it as it was; an anchor binds later ones alone."""
    standing, untouched = Standing(), Standing()
    assert list(standing.add(header(0, kind, getattr(SAMPLES[kind], "requested_by", "ada")), SAMPLES[kind])) == []
    assert vars(standing) | {"laws": vars(standing.laws)} == vars(untouched) | {"laws": vars(untouched.laws)}


@pytest.mark.parametrize(
    "acts",
    [
        [ERASED], [PLACED, OTHER], [PLACED, RELEASED, ERASED], [PLACED, RELEASED, PLACED],
        [RULE, RETIRED], [WHOLE, RELEASED, RULE, dataclasses.replace(RETIRED, rule=2)],
    ],
)  # fmt: skip
def test_lawful_acts_contradict_nothing(acts: list[Body]) -> None:
    """Erasures outside holds, holds that end, and retirements under the rule in force pass."""
    assert told(acts) == []


@pytest.mark.parametrize(
    ("acts", "why"),
    [
        ([PLACED, ERASED], "under the hold of record 0"), ([WHOLE, OTHER], "under the hold of record 0"),
        ([PLACED, RELEASED, RELEASED], "does not stand"), ([RELEASED], "does not stand"), ([PLACED, PLACED], "already"),
        ([RULE, PLACED, RETIRED], "under the hold of record 1"), ([PLACED, RETIRED], "not the retention in force"),
        ([RULE, RULE, RETIRED], "not the retention in force"), ([RETIRED], "not the retention in force"),
        ([dataclasses.replace(RULE, days=None), RETIRED], "not the retention in force"),
        ([RULE, dataclasses.replace(RETIRED, before=RETIRED.before + 1)], "younger than the 10 days"),
        ([RULE, dataclasses.replace(RETIRED, last=1)], "not before it"),
    ],
)  # fmt: skip
def test_an_act_that_an_earlier_one_forbids_is_told(acts: list[Body], why: str) -> None:
    """Erasing or retiring under a hold, a hold placed or released twice, and retiring without a rule are contradictions."""
    assert any(why in text for text in told(acts))


def test_a_log_that_was_anchored_only_grows() -> None:
    """Fewer records than before, or another root for as many, contradict an earlier anchor; those of other logs do not."""
    tree = Anchored("example.org/acme", 5, bytes(32), "ada")
    grown, other = dataclasses.replace(tree, size=6), dataclasses.replace(tree, origin="example.org/beta", size=1)
    assert told([tree, grown, other, grown]) == []
    assert ["5 records, which had 6" in text for text in told([tree, grown, tree])] == [True]
    assert ["another root" in text for text in told([tree, dataclasses.replace(tree, root=bytes(31) + b"1")])] == [True]


def test_an_act_is_recorded_by_who_requested_it() -> None:
    """The actor of the header, which is proven without any key, is the person of the body."""
    (text,) = Standing().add(header(0, kind_of(RULE), actor="mallory"), RULE)
    assert "requested by 'ada' and recorded by 'mallory'" in text


def explained(missing: Sequence[int], *acts: Retirement, ts: int = RETIRED.before - 1) -> list[tuple[int, str, bool]]:
    """How missing bodies read when these retirements were recorded at seq 100, 101 and so on."""
    standing, absences = Standing(), Absences()
    for seq, act in enumerate(acts, 100):
        list(standing.add(header(seq, kind_of(act)), act))
    for seq in missing:
        absences.no_body(header(seq, ts=ts))
    return [(each.header.seq, each.message, each.lawful) for each in absences.explain(standing)]


def test_gaps_are_explained_by_the_retirements_that_cover_them() -> None:
    """A gap inside what was retired names its records, one that sticks out is missing, and no gap hides another."""
    low, high = (dataclasses.replace(RETIRED, first=first, last=first + 4) for first in (0, 5))
    assert explained([1]) == [(1, "its body is missing", True)]
    assert explained([1], low) == [(1, "its body was retired by record 100", True)]
    assert explained([2, 3, 7], low, high) == [
        (2, "its body and those up to seq 3 were retired by record 100", True),
        (7, "its body was retired by record 101", True),
    ]
    assert explained(range(10), low, high)[0][1] == "its body and those up to seq 9 were retired by record 100, 101"
    (gap,) = explained(range(3, 8), low)
    assert gap == (3, "its body and those up to seq 7 are missing; no retirement covers seq 5", True)
    assert "seq 4" in explained(range(4, 8), high)[0][1]


def test_what_was_too_young_to_retire_is_tampering() -> None:
    """A body that is newer than its retirement allows is not excused by it."""
    assert explained([0], RETIRED, ts=RETIRED.before) == [
        (0, "its body was retired by record 100 although it was not old enough", False)
    ]


def test_a_gap_names_three_retirements_and_counts_the_rest() -> None:
    """However many records say that the same bodies were retired, the line that tells of it stays short."""
    assert explained([0], *[RETIRED] * 7)[0][1] == "its body was retired by record 100, 101, 102 and 4 more"


def test_many_gaps_under_many_retirements_are_explained_in_time() -> None:
    """Gaps times retirements is what nobody waits for; each gap is judged all the same, also where no record is named."""
    count = 20_000
    standing, absences = Standing(), Absences()
    for seq in range(0, 2 * count, 2):
        absences.no_body(header(seq, ts=1000 + seq))
    standing.retired = [Retired(2 * count + n, n, 2 * count - 3, 3 * count + n) for n in range(count)]
    standing.retired.append(Retired(3 * count, 30_000, 30_000, 31_000))
    started = time.process_time()
    told = {each.header.seq: each for each in absences.explain(standing)}
    assert time.process_time() - started < 10
    assert [seq for seq, each in told.items() if not each.lawful] == [30_000]
    assert [seq for seq, each in told.items() if "missing" in each.message] == [2 * count - 2]
    assert len(told) == count


def test_a_delegation_lasts() -> None:
    """The body of a delegation is gone by a retirement of an earlier release, or by nothing that is permitted."""

    def told(*acts: Retirement) -> list[tuple[str, bool]]:
        standing, absences = Standing(), Absences()
        for seq, act in enumerate(acts, 100):
            list(standing.add(header(seq, kind_of(act)), act))
        absences.no_body(header(1, Kind.DELEGATION, ts=RETIRED.before - 1))
        return [(each.message, each.lawful) for each in absences.explain(standing)]

    assert told() == [("its body is gone: that of a delegation is never retired", False)]
    assert told(dataclasses.replace(RETIRED, first=0, last=4)) == [("its body was retired by record 100", True)]


@pytest.mark.parametrize(("seq", "lawful"), [(0, False), (2, True)])
def test_a_sealed_retirement_may_have_ended_a_delegation(seq: int, lawful: bool) -> None:
    """Where a later retirement is not disclosed the body of a delegation is missing, and nobody is accused."""
    standing, absences = Standing(), Absences()
    assert list(standing.add(header(seq, Kind.RETIREMENT), None)) == []
    absences.no_body(header(1, Kind.DELEGATION))
    (told,) = absences.explain(standing)
    assert told.lawful is lawful
    assert told.message == ("its body is missing" if lawful else "its body is gone: that of a delegation is never retired")


DAYS_OLD = [(100 + seq, START - 2 * DAY + seq) for seq in range(5)]


def aged(records: Sequence[tuple[int, int]], *acts: Retirement) -> list[tuple[str, bool]]:
    """How missing bodies of records, each with its time, read when these retirements were recorded at seq 1000 and on."""
    standing, absences = Standing(), Absences()
    for seq, act in enumerate(acts, 1000):
        list(standing.add(header(seq, kind_of(act)), act))
    for seq, ts in records:
        absences.no_body(header(seq, ts=ts))
    return [(each.message, each.lawful) for each in absences.explain(standing)]


def over(first: int, last: int, before: int = START - 30 * DAY) -> Retirement:
    """A retirement of this range."""
    return dataclasses.replace(RETIRED, first=first, last=last, before=before)


EARLY = "its body and those up to seq 104 were retired by record 1000 although they were not old enough"


@pytest.mark.parametrize("more", [[], [over(100, 100)], [over(0, 104)], [over(100, 104, START)], [over(103, 200, START)]])
def test_no_further_retirement_excuses_a_premature_one(more: list[Retirement]) -> None:
    """Bodies that went too young stay told, whatever later retirement names them again, a lawful one too."""
    told = aged(DAYS_OLD, over(100, 104), *more)
    assert [lawful for _, lawful in told] == [False]
    assert all(text.startswith("its body and those up to seq 104 were retired by record 1000") for text, _ in told)
    assert more or told == [(EARLY, False)]


def test_a_premature_retirement_stays_told_when_its_gap_grows() -> None:
    """When the records after them retire lawfully, or just vanish, what went too young before them is told all the same."""
    later = [(105 + seq, START + seq) for seq in range(5)]
    lawful = over(105, 109, START + DAY)
    assert aged([*DAYS_OLD, *later], over(100, 104), lawful) == [(f"some of {EARLY.replace('104', '109')}", False)]
    missing = aged([*DAYS_OLD, *later], over(100, 104))
    assert [text.split()[-4:] for text, _ in missing] == [
        ["were", "not", "old", "enough"],
        ["retirement", "covers", "seq", "105"],
    ]


def test_lawful_retirements_one_after_another_stay_lawful() -> None:
    """Bodies that each retirement took at their age are retired, however close to its border and to one another they are."""
    records = [(seq, START + seq * 1_000_000) for seq in range(600)]
    acts = [over(first, first + 6, records[min(first + 6, 599)][1] + 1) for first in range(0, 600, 7)]
    ((text, lawful),) = aged(records, *acts)
    assert lawful and text.startswith("its body and those up to seq 599 were retired by record 1000, 1001")
    acts[50] = dataclasses.replace(acts[50], before=acts[50].before - 60_000_001)
    assert [lawful for _, lawful in aged(records, *acts)] == [False]


def _judge(log: Log, out: Path) -> Report:
    log.checkpoint()
    log.export(out)
    return verify(out, [log.signer.vkey], ORIGIN)


def test_the_verifier_names_the_erasure(tmp_path: Path) -> None:
    """Content whose key an erasure lists is erased by that record; a key that vanished alone is lost, not erased."""
    log = Log(tmp_path / "keys")
    log.add(None, [SAMPLES[Kind.ENGINE_NOTE]] * 3, subject="key-1")
    log.add(None, [SAMPLES[Kind.ENGINE_NOTE]], subject="key-2")
    erased, lost = (decode_header(log.rows[seq].header).key_id for seq in (0, 3))
    log.add(None, [dataclasses.replace(ERASED, key_ids=(erased,))], subject="acts", actor="ada")
    log.keys.destroy([erased, lost])
    report = _judge(log, tmp_path / "out")
    assert report.verdict is Verdict.INCOMPLETE
    assert [(finding.seq, finding.message) for finding in report.findings] == [
        (0, "its content, like that of 2 further records, was erased by record 4"),
        (3, "its content is lost: its key was asked for and no longer exists"),
    ]


def test_the_verifier_names_the_retirement_and_holds_it_to_its_rule(tmp_path: Path) -> None:
    """Bodies removed under a rule are retired by a record; under a hold, or too young, their removal is tampering."""
    log = Log(tmp_path / "keys")
    log.add(None, [SAMPLES[Kind.ENGINE_NOTE]] * 2)
    log.add(None, [RULE], subject="acts", actor="ada")
    act = Retirement(rule=2, before=START + 3 - 10 * DAY, first=0, last=1, requested_by="ada")
    log.add(None, [act], subject="acts", actor="ada")
    log.rows[:2] = [StoredRecord(row.header, None) for row in log.rows[:2]]
    report = _judge(log, tmp_path / "out")
    (finding,) = report.findings
    assert (report.verdict, finding.seq) == (Verdict.TAMPERED, 0)
    assert "retired by record 3 although they were not old enough" in finding.message


def test_the_verifier_sees_a_premature_retirement_behind_a_second_one(tmp_path: Path) -> None:
    """Five bodies that a thirty-day rule retires after two days are tampering, a second retirement over one of them or not."""
    log = Log(tmp_path / "keys")
    log.add(None, [SAMPLES[Kind.ENGINE_NOTE]] * 5)
    log.skipped = 2 * DAY
    log.add(None, [dataclasses.replace(RULE, days=30)], subject="acts", actor="ada")
    act = Retirement(rule=5, before=START - 28 * DAY, first=0, last=4, requested_by="ada")
    log.add(None, [act, dataclasses.replace(act, last=0)], subject="acts", actor="ada")
    log.rows[:5] = [StoredRecord(row.header, None) for row in log.rows[:5]]
    report = _judge(log, tmp_path / "out")
    assert (report.verdict, [finding.seq for finding in report.findings]) == (Verdict.TAMPERED, [0])
    assert "not old enough" in report.findings[0].message


NEVER = "is gone: the body of an act is never retired, nor its key erased"


def test_no_retirement_excuses_the_loss_of_an_act(tmp_path: Path) -> None:
    """A retirement takes the bodies around an act and never the act's own, whose absence is tampering and no gap."""
    log = Log(tmp_path / "keys")
    log.add(None, [SAMPLES[Kind.ENGINE_NOTE]])
    log.add(None, [RULE, RULE], subject="acts", actor="ada")
    log.add(None, [SAMPLES[Kind.ENGINE_NOTE]])
    log.skipped = 20 * DAY
    act = Retirement(rule=2, before=START + 10 * DAY, first=0, last=3, requested_by="ada")
    log.add(None, [act], subject="acts", actor="ada")
    for seq in (0, 1, 3):
        log.rows[seq] = StoredRecord(log.rows[seq].header, None)
    report = _judge(log, tmp_path / "out")
    assert {finding.seq: (finding.verdict, finding.message) for finding in report.findings} == {
        0: (Verdict.INCOMPLETE, "its body was retired by record 4"),
        1: (Verdict.TAMPERED, f"its content {NEVER}"),
        3: (Verdict.INCOMPLETE, "its body was retired by record 4"),
    }


def test_no_erasure_excuses_the_loss_of_an_act(tmp_path: Path) -> None:
    """An erasure may name the keys of those who asked, never those of acts: their loss is tampering, named or not."""
    log = Log(tmp_path / "keys")
    log.add(None, [RULE, PLACED], subject="acts", actor="ada")
    log.add(None, [RULE], subject="acts of last month", actor="ada")
    named, alone = (decode_header(log.rows[seq].header).key_id for seq in (0, 2))
    erased = dataclasses.replace(OTHER, key_ids=(named,))
    log.add(None, [erased], subject="acts of next month", actor="ada")
    log.keys.destroy([named, alone])
    report = _judge(log, tmp_path / "out")
    assert report.verdict is Verdict.TAMPERED
    assert [(finding.seq, finding.message) for finding in report.findings] == [
        (0, f"its content, like that of 1 further records, {NEVER}"),
        (2, f"its content {NEVER}"),
    ]


def changed(before: bytes | None, after: str, share: float | None = None) -> PolicyChange:
    """A change to the policy of this text."""
    return PolicyChange(before, hashlib.sha256(after.encode()).digest(), after, "why", "ada", "grace", share)


def decided(digest: bytes) -> PolicyDecision:
    """A decision under that policy."""
    sample = SAMPLES[Kind.POLICY_DECISION]
    assert isinstance(sample, PolicyDecision)
    return dataclasses.replace(sample, policy_digest=digest)


SHIPPED, A, B = (hashlib.sha256(text).digest() for text in (b"shipped", b"a", b"b"))


@pytest.mark.parametrize(
    ("acts", "why"),
    [
        ([decided(SHIPPED), changed(SHIPPED, "a"), decided(SHIPPED), decided(A)], ""),
        ([changed(SHIPPED, "a"), changed(A, "b", 0.5), decided(A), decided(B), changed(A, "b"), decided(A)], ""),
        ([changed(SHIPPED, "a"), changed(A, "b", 0.5), changed(A, "a"), changed(A, "b")], ""),
        ([changed(None, "a"), decided(B)], ""),
        ([changed(SHIPPED, "a"), decided(B)], "no record before it puts in force"),
        ([changed(SHIPPED, "a"), decided(B), changed(A, "b")], "no record before it puts in force"),
        ([changed(SHIPPED, "a"), changed(SHIPPED, "b")], "was in force"),
        ([changed(SHIPPED, "a"), changed(A, "b", 0.5), changed(B, "a")], "was in force"),
    ],
)
def test_only_a_policy_that_was_put_in_force_decides(acts: list[Body], why: str) -> None:
    """Each change replaces the policy in force, and each decision was made under one that a record had put in force."""
    found = told(acts)
    assert (found == []) if not why else (len(found) == 1 and why in found[0])


def test_a_policy_on_trial_is_not_in_force() -> None:
    """A share tries one policy beside the one in force; a change without a share ends that, whichever it names."""
    standing = Standing()
    states = []
    for seq, act in enumerate([changed(SHIPPED, "a"), changed(A, "b", 0.25), changed(A, "b")]):
        assert list(standing.add(header(seq, 40), act)) == []
        states.append(standing.laws.in_force)
    assert states == [InForce(0, A), InForce(1, A, B, 0.25), InForce(2, B)]
    assert (standing.laws.document(A), standing.laws.document(SHIPPED)) == ("a", None)


@pytest.mark.parametrize("later", [changed(B, "a"), decided(B)])
def test_nothing_is_said_of_what_a_sealed_change_may_have_put_in_force(later: Body) -> None:
    """After a change that is not disclosed, neither another change nor a decision is held against those before it."""
    standing = Standing()
    assert list(standing.add(header(0, Kind.POLICY_CHANGE), changed(SHIPPED, "a"))) == []
    assert list(standing.add(header(1, Kind.POLICY_CHANGE), None)) == []
    assert list(standing.add(header(2, kind_of(later)), later)) == []
