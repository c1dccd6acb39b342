"""Replaying and sweeping: the policy in force reproduces its own record, a candidate is judged beside it, honestly."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

import policies
from policies import Outcome, Policy, Row, Ruling, Usage, Verdict, replay, sweep
from policies.metrics import Metric
from policies.policy import seal
from policies.reading import ROOM
from policies.rejudge import rejudge
from policies.rows import Admission
from tests.policies.documents import policy, refused
from tests.policies.facts import PLAIN
from tests.policies.traffic import rows

SHIPPED = sorted(ROOM.rglob("*.toml"))
CODING = policies.load(ROOM / "examples" / "coding_agents.toml")
GATE = '[[gates]]\nid = "g"\nmodes = ["diffusion"]\nmetric = "%s"\nbelow = %s\naction = "%s"\n'
HOLD, REDO = GATE % ("logprob_min", "-1.0", "hold"), GATE % ("logprob_min", "-1.0", "redo_ar")


def recorded(count: int, of: Policy) -> list[Row]:
    """Traffic under a policy, as it comes back from a record."""
    kept = msgspec.json.encode(rows(of, count))
    return msgspec.json.decode(kept, type=list[Row])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_policy_in_force_reproduces_every_recorded_decision(path: Path) -> None:
    """Of 1,000 recorded generations a policy says, at every stage, exactly what is on record; nothing is estimated."""
    of = policies.load(path)
    traffic = recorded(1_000, of)
    report = replay(of, of, traffic)
    assert (report.rows, report.unreproduced, report.changed, report.new.estimated) == (1_000, (), (), 0)
    assert report.old == report.new
    assert sum(report.old.outcomes.values()) == 1_000
    assert path.stem == "baseline" or report.old.outcomes[Outcome.HOLD] > 20


@pytest.mark.parametrize("stage", ["admission", "ruling", "figure", "answer", "release"])
def test_a_record_that_was_changed_is_not_reproduced(stage: str) -> None:
    """One altered decision, ruling, figure or verdict among many rows is found, and named by its row."""
    traffic = recorded(60, CODING)
    at = next(i for i, row in enumerate(traffic) if row.units and row.release and row.units[0][1].verdict is Verdict.ACCEPT)
    row = traffic[at]
    unit, _ = row.units[0]
    assert row.answer is not None and row.release is not None
    altered = {
        "admission": replace(row, admission=replace(row.admission, rules=())),
        "ruling": replace(row, units=((unit, Ruling(Verdict.HOLD, "gate:x")), *row.units[1:])),
        "figure": replace(row, units=((replace(unit, logprob_min=-30.0), row.units[0][1]), *row.units[1:])),
        "answer": replace(row, answer=replace(row.answer, held_by=("gate:x",))),
        "release": replace(row, release=replace(row.release, rules=("rule:x",))),
    }
    traffic[at] = altered[stage]
    report = replay(CODING, CODING, traffic)
    assert not report.reproduced
    assert [found.row for found in report.unreproduced] == [row.id] and report.unreproduced[0].differences


def diffusion(of: Policy, count: int = 300) -> list[Row]:
    """Traffic in one mode, asked for plainly."""
    return [row for row in rows(of, count) if row.admission.mode == "diffusion"]


def test_a_hold_is_exact_and_a_fallback_is_estimated() -> None:
    """A candidate that only holds leaves every text as it was; one that decodes again makes just those rows counterfactual."""
    plain = policy("")
    traffic = diffusion(plain)
    held, redone = replay(plain, policy(HOLD), traffic), replay(plain, policy(REDO), traffic)
    stopped = sum(any(unit.logprob_min < -1 for unit, _ in row.units) for row in traffic)
    assert 0 < stopped < len(traffic)
    assert held.new.outcomes[Outcome.HOLD] == len(held.changed) == stopped
    assert (held.new.estimated, held.new.extra_forwards, held.old.outcomes[Outcome.HOLD]) == (0, 0, 0)
    assert redone.new.estimated == len(redone.changed) == stopped
    assert redone.new.fallback_share == stopped / len(traffic)
    again = sum(unit.tokens for row in traffic for unit, _ in row.units if unit.logprob_min < -1)
    assert redone.new.extra_forwards == again
    assert redone.new.quality.unknown == sum(
        row.human is not None for row in traffic if any(u.logprob_min < -1 for u, _ in row.units)
    )


def test_reviewers_and_passes_have_their_price() -> None:
    """Holds a day, reviewer minutes from the recorded reviews, and the exact cost of passes are in the report."""
    prices = '[prices.ar]\nforwards = "2"\ngpu_seconds = "0.5"\n'
    plain, traffic = policy(prices), diffusion(policy(""))
    report = replay(plain, policy(HOLD + prices), traffic)
    times = [row.human.seconds for row in traffic if row.human and row.human.seconds]
    assert report.days == 3 and report.review_seconds == sum(times) / len(times)
    assert report.new.holds_per_day == report.new.outcomes[Outcome.HOLD] / 3
    assert report.new.reviewer_minutes_per_day == pytest.approx(report.new.holds_per_day * report.review_seconds / 60)
    one = replace(traffic[0], units=traffic[0].units[:1], usage=Usage(forwards=10, gpu_seconds=Decimal(4)))
    unit = replace(one.units[0][0], tokens=5, logprob_min=-9.0)
    costly = replay(plain, policy(REDO + prices), [replace(one, units=((unit, Ruling(Verdict.ACCEPT)),))])
    assert costly.new.extra_cost == Decimal("0.00001") + Decimal("0.5") * 2


def test_quality_is_counted_against_what_people_found() -> None:
    """Precision and recall of stopping wrong answers are those of the definition, over labelled rows of the same text."""
    plain, gated = policy(""), policy(HOLD)
    traffic = diffusion(plain)
    found = replay(plain, gated, traffic).new.quality
    labelled = [(row.human.good, any(unit.logprob_min < -1 for unit, _ in row.units)) for row in traffic if row.human]
    wrong = [stopped for good, stopped in labelled if not good]
    assert (found.labelled, found.wrong, found.unknown) == (len(labelled), len(wrong), 0)
    assert found.recall == sum(wrong) / len(wrong)
    assert found.precision == sum(wrong) / sum(stopped for _, stopped in labelled)
    assert found.wrong_released == len(wrong) - sum(wrong)
    passed = [good for good, stopped in labelled if not stopped]
    assert found.accuracy_released == sum(passed) / len(passed)
    none = replay(plain, plain, traffic).new.quality
    assert (none.precision, none.recall) == (None, 0.0)


@pytest.mark.parametrize(
    ("old", "new", "estimated"),
    [
        ("", '[[rules]]\nid = "r"\nphase = "admit"\naction = "block"\n', False),
        ('[[rules]]\nid = "r"\nphase = "admit"\naction = "block"\n', "", True),
        (GATE % ("tokens", "99.0", "block"), "", True),
        ("", GATE % ("tokens", "99.0", "block"), False),
        (GATE % ("tokens", "99.0", "redo_ar"), "", True),
        ("", "[modes.diffusion.block_length]\ndefault = 8\n", True),
        ("", '[[routes]]\nid = "t"\nwhen = {}\nmodes = ["ar"]\n', True),
        ("", '[[budgets]]\nid = "b"\nper = "key"\nunit = "tokens"\namount = "5"\nwindow = "day"\n', True),
    ],
)
def test_what_nobody_can_know_is_marked(old: str, new: str, estimated: bool) -> None:
    """Blocked, refused or otherwise decoded before: what would have come is an estimate; stopping more is not."""
    was, now = policy(old), policy(new)
    traffic = [row for row in rows(was, 60) if (row.facts.requested_mode, row.facts.block_length) == (None, None)]
    found = [rejudge(now, row, rejudge(was, row).verdict).estimated for row in traffic]
    assert found and all(found) is estimated and any(found) is estimated


BUDGET = '[[budgets]]\nid = "b"\nper = "key"\nunit = "tokens"\namount = "%s"\nwindow = "day"\n'


@pytest.mark.parametrize(("amount", "estimated"), [("5", False), ("5000", True)])
def test_whether_another_budget_would_have_had_room_is_an_estimate(amount: str, estimated: bool) -> None:
    """A request that found no room, judged under the same budget, is refused for sure; under a larger one nobody knows."""
    was, now, facts = policy(BUDGET % "5"), policy(BUDGET % amount + HOLD), replace(PLAIN, exceeded=("b",))
    report = replay(was, now, [Row("1", 0, facts, Admission.of(refused(was, facts)))])
    assert report.reproduced and report.new.outcomes[Outcome.REFUSE] == 1
    assert (report.old.estimated, report.new.estimated) == (0, int(estimated))


def test_a_sweep_is_the_curve_of_its_threshold() -> None:
    """The higher the threshold, the more is held and the fewer wrong answers pass; each point is a replay at that value."""
    of = policy(HOLD)
    traffic = diffusion(of)
    points = sweep(of, traffic, Metric.LOGPROB_MIN, [-20.0, -4.0, -2.0, -1.0, 0.0])
    held = [point.hold_rate for point in points]
    assert held == sorted(held) and held[0] < held[-1] and held[-1] > 0.9
    recalls = [point.effects.quality.recall or 0.0 for point in points]
    assert recalls == sorted(recalls)
    for point in points:
        moved = policy(GATE % ("logprob_min", point.threshold, "hold"))
        assert point.effects == replay(of, moved, traffic).new


def test_a_sweep_moves_every_threshold_on_the_metric() -> None:
    """Gates and rules, over and under, move together; a metric that nothing names is refused, and no rows are no fault."""
    tables = GATE % ("tokens", "1.0", "annotate") + '[[rules]]\nid = "r"\nphase = "release"\naction = "hold"\n'
    of = policy(tables + 'when = { metric = "tokens", above = 1e6 }\n')
    traffic = diffusion(of, 60)
    low, high = sweep(of, traffic, Metric.TOKENS, [0.0, 1e6])
    assert (low.hold_rate, high.hold_rate, low.block_rate) == (1.0, 0.0, 0.0)
    assert sweep(of, [], Metric.TOKENS, [1.0])[0].hold_rate == 0.0
    with pytest.raises(ValueError, match="has a threshold on agreement"):
        sweep(of, traffic, Metric.AGREEMENT, [0.5])


def test_replaying_is_a_function() -> None:
    """The same policies and rows give the same report, and leave the rows as they were."""
    traffic = recorded(200, CODING)
    before = msgspec.json.encode(traffic)
    candidate = seal("candidate", msgspec.structs.replace(CODING.document, gates=CODING.document.gates[:1]))
    assert replay(CODING, candidate, traffic) == replay(CODING, candidate, traffic)
    assert msgspec.json.encode(traffic) == before


def test_an_unfinished_answer_is_replayed_as_far_as_it_went() -> None:
    """A request that ended without an answer keeps its decision and rulings, and counts as let through."""
    traffic = [replace(row, answer=None, release=None) for row in rows(CODING, 40) if row.facts.requested_mode is None]
    report = replay(CODING, CODING, traffic)
    assert report.reproduced and report.old.outcomes[Outcome.HOLD] == 0
    assert replay(CODING, CODING, []).days == 0
