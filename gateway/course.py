"""All that an engine did for one request, as its records tell it or as its events do, in one form that can be compared.

Records and events are cut differently (a record holds several rounds or runs), so runs are taken token by token and rounds one
by one. A denoising step's confidences are compared in the precision of the record, 1/255.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from audit import records
from audit.records import BlockTrace, Body, DecodeRun, EngineNote, GateVerdict, RequestClose, SpecRounds
from audit.trace import decode_steps, quantise
from engine.events import (
    Alternatives,
    BlockDecoded,
    DenoiseStep,
    Event,
    Finished,
    FinishReason,
    Gated,
    Noted,
    RunDecoded,
    SpecRound,
)

Ranked = dict[int, tuple[tuple[int, ...], tuple[float, ...]]]
_WHOLE = (FinishReason.STOP, FinishReason.LENGTH, FinishReason.BLOCKED)
_CIRCUMSTANCES = ("admitted", "prefilled", "preempted", "resumed", "aborted", "fault", "refused")
"""Notes that depend on the engine's cache, company and luck, not on the request."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was done: a token, a round, a block, a verdict or a note; `steps` are a block's."""

    kind: str
    told: tuple[object, ...]
    steps: tuple[object, ...] = ()

    def begins(self, other: Item) -> bool:
        """Whether this unfinished block (index, start, seeded) or round (index, start, draft, confidences) began `other`."""
        known = 4 if self.kind == "round" else 3
        same = self.kind == other.kind and self.told[:known] == other.told[:known]
        return same and self.steps == other.steps[: len(self.steps)]

    def __str__(self) -> str:
        return f"{self.kind} {self.told}"


@dataclass(frozen=True, slots=True)
class Course:
    """Items in order, alternatives by position, and the totals; `whole` unless it was cut short."""

    items: tuple[Item, ...]
    ranked: Ranked
    close: tuple[object, ...]
    whole: bool


def recorded_course(bodies: Sequence[Body]) -> Course:
    """What the records tell."""
    closes = [body for body in bodies if isinstance(body, RequestClose)]
    close = closes[-1] if closes else None
    return Course(
        tuple(item for body in bodies for item in _recorded(body)),
        dict(row for body in bodies if isinstance(body, records.Alternatives) for row in _rows(body)),
        () if close is None else (*_values(close, "records", "output_digest", "busy_us"), close.output_digest.hex()),
        close is not None and close.reason in _WHOLE,
    )


def told_course(events: Sequence[Event]) -> Course:
    """What the events tell, down to the last, which must be `Finished`."""
    finished = events[-1]
    if not isinstance(finished, Finished):
        raise ValueError("the events of a generation end with Finished")
    return Course(
        tuple(item for event in events for item in _told(event)),
        dict(row for event in events if isinstance(event, Alternatives) for row in _rows(event)),
        (finished.reason.value, *_values(finished, "generation", "reason", "busy_us")),
        finished.reason in _WHOLE,
    )


def answer_course(course: Course, told: Iterable[Body | Event]) -> Course:
    """The course of a causal answer without how it came about: its tokens in order, and how many and why no more.

    `told` are the records or events that the course was read from.
    """
    tokens = (pair for each in told for run in _runs(each) for pair in zip(run.output, run.logprob, strict=True))
    close = course.close and (course.close[0], course.close[2], course.close[-1])
    items = tuple(Item("token", (place, *pair)) for place, pair in enumerate(tokens))
    return replace(course, items=items, close=close)


def _runs(told: Body | Event) -> Iterable[DecodeRun | RunDecoded | records.SpecRoundTrace | SpecRound]:
    match told:
        case DecodeRun() | RunDecoded() | SpecRound():
            return (told,)
        case SpecRounds():
            return told.rounds
        case _:
            return ()


def _recorded(body: Body) -> Iterable[Item]:
    match body:
        case DecodeRun():
            return _tokens(body)
        case SpecRounds():
            return [Item("round", _values(each)) for each in body.rounds]
        case BlockTrace():
            return [Item("block", _values(body, "steps"), tuple(map(_values, decode_steps(body))))]
        case GateVerdict():
            return [Item("verdict", _ruled(body, body.block_index, body.verdict))]
        case EngineNote() if body.note not in _CIRCUMSTANCES:
            return [Item("note", (body.note, body.detail))]
        case _:
            return []


def _told(event: Event) -> Iterable[Item]:
    match event:
        case RunDecoded():
            return _tokens(event)
        case SpecRound():
            return [Item("round", _values(event, "generation"))]
        case BlockDecoded():
            return [Item("block", _values(event, "generation", "steps"), tuple(map(_quantised, event.steps)))]
        case Gated():
            return [Item("verdict", _ruled(event, event.block, event.verdict.value))]
        case Noted() if event.note not in _CIRCUMSTANCES:
            return [Item("note", (event.note.value, event.detail))]
        case _:
            return []


def _ruled(told: GateVerdict | Gated, index: int, verdict: str) -> tuple[object, ...]:
    return index, verdict, *_values(told, "generation", "block", "block_index", "verdict", "start"), told.start


def _tokens(run: DecodeRun | RunDecoded) -> Iterable[Item]:
    for place, pair in enumerate(zip(run.output, run.logprob, strict=True)):
        yield Item("token", (run.start + place, *pair))


def _rows(told: records.Alternatives | Alternatives) -> Iterable[tuple[int, tuple[tuple[int, ...], tuple[float, ...]]]]:
    for row in range(len(told.ids) // told.width):
        here = slice(row * told.width, (row + 1) * told.width)
        yield told.start + row, (told.ids[here], told.logprob[here])


def _quantised(step: DenoiseStep) -> tuple[object, ...]:
    return step.masked, step.proposal, tuple(map(quantise, step.confidence)), step.committed


def _values(told: Any, *without: str) -> tuple[object, ...]:
    """The fields of a dataclass in their order; records and events have them in the same one."""
    return tuple(getattr(told, field.name) for field in fields(told) if field.name not in without)
