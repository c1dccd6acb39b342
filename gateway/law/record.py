"""Between the judge and the log: facts and verdicts as they are recorded, and the same read back.

The one place where both rooms' words for them are known. What comes back equals what went in, so a recorded decision can be
made again exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any, Final

import policies
from audit.judgements import Asked, Called, Due, ReleaseDecision
from audit.records import GateVerdict, PolicyDecision
from policies.answer import Judged

_WHOLE_NUMBERS: Final = frozenset({"tokens", "attempt", "steps", "revisions", "forwards"})
_ASKED: Final = tuple(field.name for field in fields(Asked))
_SAID: Final = tuple(field.name for field in fields(policies.Admission))


def decided(facts: policies.RequestFacts, verdict: policies.Decision | policies.Refusal) -> PolicyDecision:
    """Kind 3: a decision or a refusal, and the facts that it was made on."""
    admission = policies.Admission.of(verdict)
    said = {name: getattr(admission, name) for name in _SAID}
    asked = Asked(**{name: getattr(facts, name) for name in _ASKED})
    return PolicyDecision(**said, policy_digest=bytes(verdict.policy_digest), facts=asked)


def facts_of(tenant: str, caller: str, asked: Asked) -> policies.RequestFacts:
    """The facts of a recorded decision; tenant and caller are in its header."""
    return policies.RequestFacts(tenant=tenant, caller=caller, **asdict(asked))


def admission_of(body: PolicyDecision) -> policies.Admission:
    """A recorded decision in the judge's words."""
    return policies.Admission(**{field.name: getattr(body, field.name) for field in fields(policies.Admission)})


def unit_of(body: GateVerdict) -> Judged:
    """One unit of text and the ruling on it, from kind 7. Raises ValueError for figures or a verdict that no judge knows."""
    figures: dict[str, float] = dict(zip(body.names, body.values, strict=True))
    try:
        unit = policies.BlockFacts(index=body.block_index, start=body.start, mode=body.mode, **_counted(figures))
    except TypeError as error:
        raise ValueError(f"the figures of unit {body.block_index} are not those of this release: {error}") from error
    return unit, policies.Ruling(policies.Verdict(body.verdict), body.rule, body.threshold, body.steps)


def released(
    ruling: policies.ReleaseRuling, answer: policies.AnswerFacts, annotations: tuple[str, ...] = ()
) -> ReleaseDecision:
    """Kind 13: the verdict on an answer whose facts are `kept`, and what its client is told beside it."""
    told = {field.name: getattr(answer.figures, field.name) for field in fields(policies.AnswerFigures)}
    figures = {name: float(value) for name, value in told.items() if value is not None}
    return ReleaseDecision(
        verdict=ruling.verdict.value,
        rules=ruling.rules,
        due=tuple(Due(each.name, each.because) for each in ruling.obligations),
        names=tuple(figures),
        values=tuple(figures.values()),
        calls=tuple(Called(call.name, call.met) for call in answer.calls),
        globs=_globs(answer.calls),
        held_by=answer.held_by,
        blocked_by=answer.blocked_by,
        annotations=annotations,
    )


def answer_of(body: ReleaseDecision) -> policies.AnswerFacts:
    """The facts of a finished answer, from kind 13. Raises ValueError for figures that no judge knows."""
    figures = _counted(dict(zip(body.names, body.values, strict=True)))
    calls = tuple(policies.ToolCall(call.name, readable=False, asked=body.globs, met=call.met) for call in body.calls)
    try:
        return policies.AnswerFacts(policies.AnswerFigures(**figures), calls, body.held_by, body.blocked_by)
    except TypeError as error:
        raise ValueError(f"the figures of an answer are not those of this release: {error}") from error


def ruling_of(body: ReleaseDecision, document: policies.Document) -> policies.ReleaseRuling:
    """The verdict on an answer, from kind 13; `document` says what each approval asks. Raises ValueError for one it lacks."""
    try:
        due = tuple(policies.Obligation(each.approval, document.approval(each.approval), each.because) for each in body.due)
    except KeyError as error:
        raise ValueError(f"the policy has no approval {error}") from error
    return policies.ReleaseRuling(policies.Action(body.verdict), due, body.rules)


def _counted(figures: dict[str, float]) -> dict[str, Any]:
    """What is counted is a whole number, also where it was recorded among fractions."""
    return {name: int(value) if name in _WHOLE_NUMBERS else value for name, value in figures.items()}


def _globs(calls: Iterable[policies.ToolCall]) -> tuple[str, ...]:
    return next((call.asked for call in calls), ())
