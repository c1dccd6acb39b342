"""What the judge permits, the engine takes: both rooms name the modes alike although neither knows the other."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from engine.request import CAUSAL_MODES, GenerationRequest, Sampling
from engine.request import Mode as EngineMode
from policies import Decision, Document, Mode, decide
from policies.document import CAUSAL, CONCRETE, Modes
from policies.load import seal
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
