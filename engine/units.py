"""Causal text as a gate sees it: neighbouring runs and rounds, judged together once they hold `CAUSAL_UNIT` tokens."""

from __future__ import annotations

from collections.abc import Sequence

from engine.events import RunDecoded, SpecRound
from engine.gates import BlockFacts, recorded_mean
from engine.request import Mode


def unit_facts(index: int, events: Sequence[RunDecoded | SpecRound]) -> BlockFacts:
    """The figures of a unit; one that holds any speculation counts as speculation."""
    logprob = [value for event in events for value in event.logprob]
    rounds = [event for event in events if isinstance(event, SpecRound)]
    drafts = sum(len(event.draft) - 1 for event in rounds)
    return BlockFacts(
        index=index,
        start=events[0].start,
        mode=(Mode.LINEAR_SPEC if rounds else Mode.AR).value,
        tokens=len(logprob),
        attempt=0,
        steps=sum(event.forwards for event in events),
        revisions=0,
        logprob_mean=recorded_mean(logprob),
        logprob_min=min(logprob, default=0.0),
        acceptance=recorded_mean([sum(event.matched for event in rounds) / drafts]) if drafts else None,
    )
