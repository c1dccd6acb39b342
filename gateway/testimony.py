"""From what the engine says to what the log keeps: every field of every event reaches a record.

Pure translation, the only place where both vocabularies are known. Consecutive causal tokens share one record (at most
32), consecutive speculation rounds too (at most 16 rounds or 32 tokens), a diffusion block is a record of its own. `Finished`
becomes the close of the request, which also declares how many records the request has.

The engine tells alternatives right before the tokens that they belong to, which would cut both into small records. So in each
stretch of causal events the alternatives are recorded first, at most 32 positions together, then the tokens: alternatives
still stand before their tokens. Any other event ends the stretch, so a verdict follows what it judged and nothing it did not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import chain, groupby
from typing import Any, Final
from uuid import UUID

from audit.records import Alternatives as AlternativesRecord
from audit.records import BlockTrace, Body, DecodeRun, EngineNote, GateVerdict, RequestClose, SpecRounds, SpecRoundTrace
from audit.trace import encode_steps
from engine.events import (
    Admitted,
    Alternatives,
    BlockDecoded,
    Event,
    Finished,
    FinishReason,
    Gated,
    Noted,
    Output,
    Prefilled,
    RunDecoded,
    SpecRound,
    octets,
)

TOKENS_PER_RECORD: Final = 32
_WRITE: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_ELSEWHERE: Final = {"id", "prompt", "sampling", "gate", "cache_salt"}
"""Fields of a request that its admission does not tell as they are."""
_CAUSAL: Final = (Alternatives, RunDecoded, SpecRound)
ROUNDS_PER_RECORD: Final = 16


@dataclass(frozen=True, slots=True)
class Statement:
    """One record to be: the request it belongs to and its body."""

    request: UUID
    body: Body


@dataclass(slots=True)
class Tally:
    """What a generation has done so far by its own events, so that it can be closed even if the engine dies."""

    tokens: int = 0
    blocks: int = 0
    steps: int = 0
    rounds: int = 0
    forwards: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def count(self, event: Event) -> None:
        """Add one event."""
        ids = output_of(event)
        self.tokens += len(ids)
        self._digest.update(octets(ids))
        match event:
            case BlockDecoded():
                self.blocks += 1
                self.steps += len(event.steps)
                self.forwards += event.forwards
            case SpecRound():
                self.rounds += 1
                self.forwards += event.forwards
            case RunDecoded():
                self.forwards += event.forwards
            case _:
                pass

    def finished(self, generation: UUID, prompt_tokens: int, reason: FinishReason) -> Finished:
        """The end that the engine could not announce itself."""
        return Finished(
            generation=generation,
            reason=reason,
            prompt_tokens=prompt_tokens,
            tokens=self.tokens,
            blocks=self.blocks,
            steps=self.steps,
            rounds=self.rounds,
            forwards=self.forwards,
            output_digest=self._digest.hexdigest(),
            busy_us=None,
        )


def output_of(event: Event) -> tuple[int, ...]:
    """The ids that an event adds to the answer."""
    return event.output if isinstance(event, Output) else ()


def attest(events: Iterable[Event]) -> list[Statement]:
    """Statements for all events but `Finished`: in order but for alternatives, neighbours of one kind coalesced."""
    return [_statement(group) for group in _groups(events)]


def close(finished: Finished, records: int) -> Statement:
    """The last statement of a request; `records` counts all records of the request, this one included."""
    body = RequestClose(
        reason=finished.reason.value,
        prompt_tokens=finished.prompt_tokens,
        tokens=finished.tokens,
        blocks=finished.blocks,
        steps=finished.steps,
        rounds=finished.rounds,
        forwards=finished.forwards,
        output_digest=bytes.fromhex(finished.output_digest),
        records=records,
        busy_us=finished.busy_us,
    )
    return Statement(finished.generation, body)


def _stretch(event: Event) -> tuple[UUID, bool]:
    """What neighbours have in common if their alternatives may be told before their tokens."""
    return event.generation, isinstance(event, _CAUSAL)


def _alternatives_first(events: Iterable[Event]) -> Iterator[Event]:
    stretches = (list(members) for _, members in groupby(events, key=_stretch))
    return chain.from_iterable(sorted(members, key=lambda event: not isinstance(event, Alternatives)) for members in stretches)


def _groups(events: Iterable[Event]) -> Iterator[list[Event]]:
    group: list[Event] = []
    for event in _alternatives_first(events):
        if isinstance(event, Finished):
            continue
        if group and not _joins(group, event):
            yield group
            group = []
        group.append(event)
    if group:
        yield group


def _joins(group: Sequence[Event], event: Event) -> bool:
    """Whether the record of `group` may also hold `event`."""
    last = group[-1]
    if last.generation != event.generation or sum(map(_positions, (*group, event))) > TOKENS_PER_RECORD:
        return False
    match last, event:
        case (RunDecoded(), RunDecoded()):
            return last.start + _positions(last) == event.start
        case (Alternatives(), Alternatives()):
            return last.width == event.width and last.start + _positions(last) == event.start
        case (SpecRound(), SpecRound()):
            return len(group) < ROUNDS_PER_RECORD
        case _:
            return False


def _positions(event: Event) -> int:
    """Of how many output positions an event tells."""
    return len(event.ids) // event.width if isinstance(event, Alternatives) else len(output_of(event))


def _statement(group: Sequence[Event]) -> Statement:
    first = group[0]
    match first:
        case RunDecoded():
            body: Body = _run([event for event in group if isinstance(event, RunDecoded)])
        case SpecRound():
            body = SpecRounds(tuple(_round(event) for event in group if isinstance(event, SpecRound)))
        case Alternatives():
            body = _alternatives([event for event in group if isinstance(event, Alternatives)])
        case BlockDecoded():
            body = _block(first)
        case Gated():
            body = _gated(first)
        case Admitted():
            body = EngineNote("admitted", _WRITE(_admission(first)))
        case Prefilled():
            body = EngineNote("prefilled", _WRITE({"tokens": first.tokens, "cached": first.cached, "passes": first.passes}))
        case Noted():
            body = EngineNote(first.note.value, first.detail)
        case Finished():
            body = close(first, 0).body
    return Statement(first.generation, body)


def _gated(event: Gated) -> GateVerdict:
    return GateVerdict(
        block_index=event.block,
        names=event.names,
        values=event.values,
        verdict=event.verdict.value,
        start=event.start,
        rule=event.rule,
        mode=event.mode,
        threshold=event.threshold,
        steps=event.steps,
    )


def _alternatives(events: Sequence[Alternatives]) -> AlternativesRecord:
    return AlternativesRecord(
        start=events[0].start,
        width=events[0].width,
        ids=tuple(token for event in events for token in event.ids),
        logprob=tuple(value for event in events for value in event.logprob),
    )


def _run(events: Sequence[RunDecoded]) -> DecodeRun:
    return DecodeRun(
        start=events[0].start,
        output=tuple(token for event in events for token in event.output),
        logprob=tuple(value for event in events for value in event.logprob),
        forwards=sum(event.forwards for event in events),
    )


def _round(event: SpecRound) -> SpecRoundTrace:
    return SpecRoundTrace(
        index=event.index,
        start=event.start,
        draft=event.draft,
        draft_confidence=event.draft_confidence,
        verified=event.verified,
        accepted=event.accepted,
        output=event.output,
        logprob=event.logprob,
        forwards=event.forwards,
        complete=event.complete,
    )


def _block(event: BlockDecoded) -> BlockTrace:
    return BlockTrace(
        index=event.index,
        start=event.start,
        seeded=event.seeded,
        steps=encode_steps(event.steps, event.commit_confidence),
        tokens=event.tokens,
        commit_confidence=event.commit_confidence,
        verifier_logprob=event.verifier_logprob,
        agreement=event.agreement,
        emitted=event.emitted,
        forwards=event.forwards,
        complete=event.complete,
    )


def _admission(event: Admitted) -> dict[str, Any]:
    """Every effective value; the generation is the request of the record."""
    request, constraint = event.request, event.request.constraint
    told = {field.name: getattr(request, field.name) for field in fields(request) if field.name not in _ELSEWHERE}
    return {
        **told,
        **asdict(request.sampling),
        "stop_ids": sorted(request.stop_ids),
        "constraint": ("", "") if constraint is None else (constraint.kind, constraint.source),
        "gated": request.gate is not None,
        "modes_permitted": sorted(request.modes_permitted),
        "prompt_tokens": len(request.prompt),
        "numeric": event.numeric,
        "fingerprint": event.fingerprint,
        "dtype": event.dtype,
    }
