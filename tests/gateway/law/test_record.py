"""What the judge knew and said goes into records and comes back as it was, bytes and all."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.judgements import ReleaseDecision
from audit.records import Body, GateVerdict, PolicyDecision, decode_body, encode_body, kind_of
from engine import gates
from engine.events import Gated
from gateway.law.clock import minute_of_week
from gateway.law.record import admission_of, answer_of, decided, facts_of, released, ruling_of, unit_of
from gateway.testimony import attest
from policies import Admission, AnswerFacts, BlockFacts, Decision, Document, RequestFacts, decide, judge_release, kept
from policies.policy import seal
from tests.policies import drawn


def isnan(value: object) -> bool:
    """Whether this is what no record takes."""
    return isinstance(value, float) and math.isnan(value)


def through(body: Body) -> Body:
    """The body as the log gives it back."""
    return decode_body(kind_of(body), 1, encode_body(body))


@drawn.calm
@given(drawn.documents(), drawn.requests, st.none() | st.floats(0, 1), st.lists(st.text(max_size=9), max_size=2))
def test_facts_and_decision_come_back(
    document: Document, facts: RequestFacts, threshold: float | None, groups: list[str]
) -> None:
    """From a decision's record the same decision can be made again, of the same facts."""
    policy, asked = seal("drawn", document), replace(facts, threshold=threshold, groups=tuple(groups))
    verdict = decide(policy, asked)
    body = through(decided(asked, verdict))
    assert isinstance(body, PolicyDecision) and body.facts is not None
    assert facts_of(asked.tenant, asked.caller, body.facts) == asked
    assert admission_of(body) == Admission.of(verdict) and body.policy_digest == policy.digest


@drawn.calm
@given(drawn.units().filter(lambda unit: not isnan(unit.logprob_min)), st.sampled_from(gates.Verdict), st.floats(0, 1))
def test_a_unit_comes_back(unit: BlockFacts, verdict: gates.Verdict, threshold: float) -> None:
    """From a gate's record come the very figures that the gate saw, how the unit came about, and the whole ruling."""
    clean: dict[str, Any] = {name: None if isnan(value) else value for name, value in asdict(unit).items()}
    facts = gates.BlockFacts(**(clean | {"logprob_mean": -0.5}))
    figures = facts.figures()
    told = tuple(figures), tuple(figures.values())
    event = Gated(UUID(int=1), facts.index, facts.start, *told, verdict, "gate:g", facts.mode, threshold, 3)
    (statement,) = attest([event])
    body = through(statement.body)
    assert isinstance(body, GateVerdict)
    found, ruling = unit_of(body)
    assert asdict(found) == asdict(facts)
    assert asdict(ruling) == asdict(gates.Ruling(verdict, "gate:g", threshold, 3))


@drawn.calm
@given(drawn.documents(), drawn.requests, drawn.answers())
def test_an_answer_comes_back(document: Document, facts: RequestFacts, answer: AnswerFacts) -> None:
    """From a release decision come the facts that were judged and the verdict, with every approval that is due."""
    policy = seal("drawn", document)
    decision = decide(policy, facts)
    figures = asdict(answer.figures)
    if not isinstance(decision, Decision) or any(map(isnan, figures.values())):
        return
    judged = kept(policy, decision, answer)
    ruling = judge_release(policy, decision, judged)
    body = through(released(ruling, judged))
    assert isinstance(body, ReleaseDecision)
    again = answer_of(body)
    assert again == judged and ruling_of(body, policy.document) == ruling
    assert judge_release(policy, decision, again) == ruling


@pytest.mark.parametrize(
    ("zone", "minute"),
    [("UTC", 3 * 1440 + 600), ("Europe/Berlin", 3 * 1440 + 660), ("Asia/Kolkata", 3 * 1440 + 930), ("Mars/A", None)],
)
def test_minutes_are_those_of_the_document(zone: str, minute: int | None) -> None:
    """Thursday, 26 November 2026, 10:00 UTC is another minute of the week elsewhere, and none where nobody knows the zone."""
    assert minute_of_week(zone, datetime(2026, 11, 26, 10, 0, tzinfo=UTC)) == minute
