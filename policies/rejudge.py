"""One recorded generation, judged again: exactly where the policy would have changed nothing about the text, else estimated.

What was never generated is not known. A row is *estimated* under a policy that decodes it otherwise than it was decoded,
refines or redoes other units, lets go on what was blocked, counts other budgets (also where one of them refuses it), or asks
for paths that were not kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from policies.answer import AGAIN, Judged, summarise
from policies.facts import AnswerFacts
from policies.judge import decide
from policies.judge_block import judge_block
from policies.judge_release import judge_release
from policies.kept import globs_asked
from policies.policy import Policy
from policies.rows import Admission, Row
from policies.verdicts import Decision, Refusal, ReleaseRuling, Ruling, Verdict

_RUN = ("mode", "modes_permitted", "block_length", "threshold", "max_steps", "seed_first", "max_tokens", "budgets")


class Outcome(StrEnum):
    """What became of a request; the last three kept its answer from leaving by itself."""

    ALLOW = "allow"
    ANNOTATE = "annotate"
    HOLD = "hold"
    BLOCK = "block"
    REFUSE = "refuse"

    @property
    def stopped(self) -> bool:
        """Whether no answer left by itself."""
        return self in (Outcome.HOLD, Outcome.BLOCK, Outcome.REFUSE)


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that one policy says of one row; `units` are those that it would have judged, each with its ruling."""

    verdict: Decision | Refusal
    units: tuple[Judged, ...]
    answer: AnswerFacts | None
    release: ReleaseRuling | None
    estimated: bool

    @property
    def outcome(self) -> Outcome:
        """The end of it; an answer that nobody finished was allowed, as far as anyone can say."""
        if isinstance(self.verdict, Refusal):
            return Outcome.REFUSE
        return Outcome(self.release.verdict.value) if self.release is not None else Outcome.ALLOW

    @property
    def again(self) -> tuple[Judged, ...]:
        """The units that are refined or decoded again."""
        return tuple(unit for unit in self.units if unit[1].verdict in AGAIN)


def rejudge(policy: Policy, row: Row, was: Decision | Refusal | None = None) -> Judgement:
    """What `policy` says of a recorded row; `was` is what was decided then, the same as now if not given."""
    verdict = decide(policy, row.facts)
    then = verdict if was is None else was
    if isinstance(verdict, Refusal):
        return Judgement(verdict, (), None, None, estimated=verdict.budgets not in ((), then.budgets))
    if isinstance(then, Refusal):
        return Judgement(verdict, (), None, None, estimated=True)
    units = _units(policy, verdict, row)
    same = len(units) == len(row.units) or units[-1][1].verdict is Verdict.BLOCK
    changed = not same or _text_changed(units, row) or _runs_otherwise(verdict, then)
    if row.answer is None:
        return Judgement(verdict, units, None, None, changed)
    answer = _answer(units, row.answer, changed)
    release = judge_release(policy, verdict, answer)
    asked = frozenset(globs_asked(policy, verdict))
    unread = any(not call.readable and not asked.issubset(call.asked) for call in answer.calls)
    return Judgement(verdict, units, answer, release, changed or unread)


def _units(policy: Policy, decision: Decision, row: Row) -> tuple[Judged, ...]:
    """Every recorded unit with its ruling now, as far as generation would have gone."""
    found: list[Judged] = []
    for facts, _ in row.units:
        found.append((facts, judge_block(policy, decision, facts)))
        if found[-1][1].verdict is Verdict.BLOCK:
            break
    return tuple(found)


def _text_changed(units: tuple[Judged, ...], row: Row) -> bool:
    """Whether some unit is decoded again now and was not then, the other way round or otherwise; or goes on after a block."""
    for (_, now), (_, then) in zip(units, row.units, strict=False):
        if (now.verdict in AGAIN or then.verdict in AGAIN) and _again(now) != _again(then):
            return True
        if then.verdict is Verdict.BLOCK is not now.verdict:
            return True
    return False


def _again(ruling: Ruling) -> tuple[Verdict, float, int]:
    return ruling.verdict, ruling.threshold, ruling.steps


def _runs_otherwise(now: Decision, then: Decision) -> bool:
    return now is not then and any(getattr(now, key) != getattr(then, key) for key in _RUN)


def _answer(units: tuple[Judged, ...], recorded: AnswerFacts, changed: bool) -> AnswerFacts:
    """The answer's facts under these rulings; where the text would be another, its figures are taken to be as recorded."""
    found = summarise(units, recorded.calls, recorded.figures.forwards)
    return replace(found, figures=recorded.figures) if changed else found


def differences(row: Row, judgement: Judgement) -> list[str]:
    """What of a recorded row this judgement does not reproduce, in words; nothing, if it reproduces all of it."""
    found: list[str] = []
    if Admission.of(judgement.verdict) != row.admission:
        found.append("the decision at admission")
    if judgement.units != row.units:
        at = next((i for i, (a, b) in enumerate(zip(judgement.units, row.units, strict=False)) if a != b), len(judgement.units))
        found.append(f"the ruling on unit {at}")
    if judgement.answer != row.answer:
        found.append("the facts of the answer")
    if judgement.release != row.release:
        found.append("the verdict on the answer")
    return found
