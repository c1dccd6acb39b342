"""What the judge permits, the engine takes: both rooms name the modes alike although neither knows the other."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import gates
from engine.request import CAUSAL_MODES, GenerationRequest, Sampling
from engine.request import Mode as EngineMode
from policies import MEASURES, BlockFacts, Decision, Document, Mode, RequestFacts, Ruling, Verdict, decide, judge_block
from policies.gates import Refine
from policies.modes import CAUSAL, CONCRETE, Modes
from policies.policy import seal
from tests.policies import drawn
from tests.policies.facts import PLAIN


def engine_request(decision: Decision) -> GenerationRequest:
    """The request that a decision stands for; raises InvalidRequest if the engine would not take it."""
    return GenerationRequest(
        id=UUID(int=1),
        prompt=(1,),
        mode=EngineMode(decision.mode.value),
        modes_permitted=frozenset(EngineMode(mode.value) for mode in decision.modes_permitted),
        max_tokens=decision.max_tokens,
        sampling=Sampling(0.0, 7),
        block_length=decision.block_length,
        threshold=decision.threshold,
        max_steps=decision.max_steps,
        seed_first=decision.seed_first,
        stop_ids=frozenset(),
    )


def test_the_modes_have_the_same_names() -> None:
    """The words of the document are those of the engine, and both call the same ones causal."""
    assert {mode.value for mode in Mode} == {mode.value for mode in EngineMode}
    assert {mode.value for mode in CAUSAL} == {mode.value for mode in CAUSAL_MODES}


@drawn.calm
@given(allowed=st.sets(st.sampled_from(CONCRETE), min_size=1), asked=st.none() | st.sampled_from(Mode), data=st.data())
def test_the_engine_takes_every_decision(allowed: set[Mode], asked: Mode | None, data: st.DataObject) -> None:
    """Whatever a document allows and defaults to, what is granted is a request that the engine accepts as it is."""
    automatic = [] if allowed.isdisjoint(CAUSAL) else [Mode.AUTO]
    default = data.draw(st.sampled_from([*sorted(allowed), *automatic]))
    modes = Modes(allowed=tuple(allowed), default=default)
    policy = seal("drawn", Document(schema="palimpsest.policy/1", tenant="*", modes=modes))
    facts = replace(PLAIN, requested_mode=None if asked is None else asked.value)
    verdict = decide(policy, facts)
    granted = asked is None or asked in allowed or asked in automatic
    assert isinstance(verdict, Decision) is granted
    if isinstance(verdict, Decision):
        assert engine_request(verdict).mode == (asked or default).value


def test_the_verdicts_and_the_figures_have_the_same_names() -> None:
    """A ruling of the judge is one of the engine, value for value, and a unit of the engine is facts for the judge."""
    assert [verdict.value for verdict in Verdict] == [verdict.value for verdict in gates.Verdict]
    assert [field.name for field in fields(Ruling)] == [field.name for field in fields(gates.Ruling)]
    assert [(field.name, field.type) for field in fields(BlockFacts)] == [
        (field.name, field.type) for field in fields(gates.BlockFacts)
    ]
    unit = gates.BlockFacts(0, 1, "diffusion", 2, 0, 3, 0, -1.0, -2.0, 0.5, 0.25, 0.75, None)
    named = {metric.value for metric, measure in MEASURES.items() if measure.block is not None}
    assert unit.figures().keys() | {"acceptance"} == named


def test_a_gate_may_refine_as_often_as_the_engine_does() -> None:
    """A document may ask for as many refinements as the engine carries out, and for none that it would turn into a hold."""
    table = {"threshold": 0.5, "steps": 1}
    assert msgspec.convert(table | {"attempts": gates.REFINES_MOST}, Refine).attempts == gates.REFINES_MOST
    with pytest.raises(msgspec.ValidationError, match="<= 2"):
        msgspec.convert(table | {"attempts": gates.REFINES_MOST + 1}, Refine)


@drawn.calm
@given(drawn.documents(), drawn.requests, drawn.units())
def test_the_engine_takes_every_gate(document: Document, facts: RequestFacts, unit: BlockFacts) -> None:
    """A decision's verdicts make a gate that the engine accepts with the request, and every ruling is one it declared."""
    policy = seal("drawn", document)
    decision = decide(policy, facts)
    if not isinstance(decision, Decision) or not decision.verdicts:
        return

    def judge(theirs: gates.BlockFacts) -> gates.Ruling:
        ruling = judge_block(policy, decision, BlockFacts(**asdict(theirs)))
        return gates.Ruling(gates.Verdict(ruling.verdict.value), ruling.rule, ruling.threshold, ruling.steps)

    gate = gates.Gate(judge, frozenset(gates.Verdict(verdict.value) for verdict in decision.verdicts))
    request = replace(engine_request(decision), gate=gate)
    assert request.gate is not None
    assert request.gate.judge(gates.BlockFacts(**asdict(unit))).verdict in request.gate.verdicts
