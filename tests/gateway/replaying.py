"""A request as its records tell it, run once more in an engine that knows nothing of the first time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar
from uuid import UUID

from audit import records
from audit.records import (
    BlockTrace,
    Body,
    DecodeRun,
    EngineNote,
    GateVerdict,
    PromptBody,
    RequestClose,
    RequestOpen,
    SpecRounds,
)
from audit.trace import decode_steps, quantise
from engine.engine import Engine
from engine.events import (
    Alternatives,
    BlockDecoded,
    DenoiseStep,
    Event,
    Finished,
    Gated,
    Noted,
    RunDecoded,
    SpecRound,
)
from engine.gates import Gate
from engine.model.checkpoint import LoadedModel
from engine.request import Constraint, ConstraintKind, GenerationRequest, Mode, Numeric, Sampling
from tests.engine.harness import events_of

B = TypeVar("B", bound=Body)


def the(kind: type[B], bodies: Iterable[Body]) -> B:
    """The one record of a kind."""
    (found,) = (body for body in bodies if isinstance(body, kind))
    return found


def recorded_request(request: UUID, bodies: Sequence[Body], gate: Gate | None = None) -> GenerationRequest:
    """What was asked of the engine, by the opening records; a gate is code, so only that there was one is on record."""
    opening, prompt = the(RequestOpen, bodies), the(PromptBody, bodies)
    assert opening.prompt_tokens == len(prompt.ids) and opening.gated == (gate is not None)
    kind = opening.constraint_kind
    return GenerationRequest(
        id=request,
        prompt=prompt.ids,
        mode=Mode(opening.mode),
        modes_permitted=frozenset(map(Mode, opening.modes_permitted)),
        max_tokens=opening.max_tokens,
        sampling=Sampling(
            temperature=opening.temperature,
            seed=opening.seed,
            choice=opening.choice,
            top_p=opening.top_p,
            top_k=opening.top_k,
            min_p=opening.min_p,
            presence_penalty=opening.presence_penalty,
            frequency_penalty=opening.frequency_penalty,
            repetition_penalty=opening.repetition_penalty,
        ),
        block_length=opening.block_length,
        threshold=opening.threshold,
        max_steps=opening.max_steps,
        seed_first=opening.seed_first,
        stop_ids=frozenset(opening.stop_ids),
        stop_strings=opening.stop_strings,
        top_logprobs=opening.top_logprobs,
        think_budget=opening.think_budget,
        constraint=Constraint(ConstraintKind(kind), opening.constraint_source) if kind else None,
        gate=gate,
    )


def replayed(model: LoadedModel, request: UUID, bodies: Sequence[Body], gate: Gate | None = None) -> list[Event]:
    """What a fresh engine says when it is asked what the records say was asked."""
    engine = Engine(model, Numeric(the(RequestOpen, bodies).numeric))
    return events_of(engine, recorded_request(request, bodies, gate))[request]


@dataclass(frozen=True, slots=True)
class Course:
    """All that an engine did for one request, as its events or its records tell it, however these were put together.

    `items` has, in order, the tokens of runs one by one, rounds, blocks with every step, verdicts and notes; `ranked` has the
    alternatives by position, `forwards` the passes of runs, `close` the totals.
    """

    items: tuple[tuple[object, ...], ...]
    ranked: dict[int, tuple[tuple[int, ...], tuple[float, ...]]]
    forwards: int
    close: tuple[object, ...]


def recorded_course(bodies: Sequence[Body]) -> Course:
    """What the records tell."""
    close = the(RequestClose, bodies)
    return Course(
        tuple(item for body in bodies for item in _recorded_items(body)),
        dict(row for body in bodies if isinstance(body, records.Alternatives) for row in _rows(body)),
        sum(body.forwards for body in bodies if isinstance(body, DecodeRun)),
        (*_values(close, "records", "output_digest"), close.output_digest.hex()),
    )


def told_course(events: Sequence[Event]) -> Course:
    """What the events tell, in the precision of the record: the confidence of a denoising step has 8 bits there."""
    finished = events[-1]
    assert isinstance(finished, Finished)
    return Course(
        tuple(item for event in events for item in _told_items(event)),
        dict(row for event in events if isinstance(event, Alternatives) for row in _rows(event)),
        sum(event.forwards for event in events if isinstance(event, RunDecoded)),
        (finished.reason.value, *_values(finished, "generation", "reason")),
    )


def _recorded_items(body: Body) -> Iterable[tuple[object, ...]]:
    match body:
        case DecodeRun():
            return _tokens(body)
        case SpecRounds():
            return [("round", *_values(each)) for each in body.rounds]
        case BlockTrace():
            return [("block", *_values(body, "steps"), tuple(map(_values, decode_steps(body.steps))))]
        case GateVerdict():
            return [("verdict", body.block_index, body.start, body.names, body.values, body.verdict, body.rule)]
        case EngineNote() if body.note not in ("admitted", "prefilled"):  # how it began depends on the engine and its cache
            return [("note", body.note, body.detail)]
        case _:
            return []


def _told_items(event: Event) -> Iterable[tuple[object, ...]]:
    match event:
        case RunDecoded():
            return _tokens(event)
        case SpecRound():
            return [("round", *_values(event, "generation"))]
        case BlockDecoded():
            return [("block", *_values(event, "generation", "steps"), tuple(map(_quantised, event.steps)))]
        case Gated():
            return [("verdict", event.block, event.start, event.names, event.values, event.verdict.value, event.rule)]
        case Noted():
            return [("note", event.note.value, event.detail)]
        case _:
            return []


def _tokens(run: DecodeRun | RunDecoded) -> Iterable[tuple[object, ...]]:
    for place, pair in enumerate(zip(run.output, run.logprob, strict=True)):
        yield run.start + place, *pair


def _rows(told: records.Alternatives | Alternatives) -> Iterable[tuple[int, tuple[tuple[int, ...], tuple[float, ...]]]]:
    for row in range(len(told.ids) // told.width):
        here = slice(row * told.width, (row + 1) * told.width)
        yield told.start + row, (told.ids[here], told.logprob[here])


def _quantised(step: DenoiseStep) -> tuple[object, ...]:
    return step.masked, step.proposal, tuple(map(quantise, step.confidence)), step.committed


def _values(told: Any, *without: str) -> tuple[object, ...]:
    """The fields of a dataclass in their order; records and events have them in the same one."""
    return tuple(getattr(told, field.name) for field in fields(told) if field.name not in without)
