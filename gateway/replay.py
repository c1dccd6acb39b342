"""A recorded generation, run again: what was asked is read from its records, and what came of it is compared step by step.

Under `strict`, with the same weights and the same numeric fingerprint, every id, count and position must come again, and every
figure to the precision of its record. Of `auto`, whose mode follows the load, the tokens must come again: they are those of
every causal mode. Anything else is compared too, and the first difference named, but proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import zip_longest
from typing import TypeVar
from uuid import UUID

from audit.records import Body, PromptBody, RequestClose, RequestOpen
from engine.engine import Engine
from engine.errors import EngineError
from engine.events import Event
from engine.gates import Gate
from engine.model.checkpoint import LoadedModel
from engine.request import Constraint, ConstraintKind, GenerationRequest, Mode, Numeric, Sampling
from gateway.course import Course, Item, answer_course, recorded_course, told_course

B = TypeVar("B", bound=Body)


class ReplayRefused(Exception):
    """This generation cannot be run again here; the message says why."""


class Claim(Enum):
    """What may be asked of a replay."""

    EXACT = "exact"
    COMPARED = "compared"


@dataclass(frozen=True, slots=True)
class Replay:
    """How a replay went: what was claimed and why, how much was compared, and the first difference if there is one."""

    claim: Claim
    reason: str
    compared: int
    difference: str | None


def replay(model: LoadedModel, request: UUID, bodies: Sequence[Body], gate: Gate | None = None) -> Replay:
    """Run a generation again from its records, alone in a fresh engine; `gate` is that of its law, if it had one.

    Raises ReplayRefused for records that do not suffice: not opened, bodies gone, no gate where one judged, another model.
    """
    opening = the(RequestOpen, bodies)
    if opening.gated and gate is None:
        raise ReplayRefused(
            "its blocks were judged by a gate, and the policy of that gate is on no record that can be read here"
        )
    if opening.weights_digest.hex() != model.weights_digest:
        raise ReplayRefused(
            f"it was made by weights {opening.weights_digest.hex()[:16]}..., here are {model.weights_digest[:16]}...: "
            "set PALIMPSEST_CHECKPOINT to the model that made it"
        )
    engine = Engine(model, Numeric(opening.numeric))
    claim, reason = _claim(opening, engine)
    wanted = replace(recorded_request(request, bodies), gate=gate if opening.gated else None)
    _require_all(bodies)
    recorded = recorded_course(bodies)
    if not recorded.items and not recorded.whole:
        raise ReplayRefused("its records end before its first step: there is nothing to compare")
    events = _run(engine, wanted)
    again = told_course(events)
    if _by_load(opening):
        recorded, again = answer_course(recorded, bodies), answer_course(again, events)
    return Replay(claim, reason, len(recorded.items), first_difference(recorded, again))


def the(kind: type[B], bodies: Iterable[Body]) -> B:
    """The one record of a kind; raises ReplayRefused when it is not there or cannot be read."""
    found = [body for body in bodies if isinstance(body, kind)]
    if not found:
        raise ReplayRefused("no such generation in this tenant, or what was asked of it is erased or retired")
    if len(found) > 1:
        raise ReplayRefused(f"it has {len(found)} records of {kind.__name__}, where one is right: verify this log")
    return found[0]


def _require_all(bodies: Sequence[Body]) -> None:
    """Raises ReplayRefused where fewer records can be read than its close declares: a gap is no difference of the model's."""
    for place, body in enumerate(bodies, 1):
        if isinstance(body, RequestClose) and place < body.records:
            raise ReplayRefused(f"{body.records - place} of its {body.records} records can no longer be read")


def recorded_request(request: UUID, bodies: Sequence[Body]) -> GenerationRequest:
    """What was asked of the engine, by the opening records."""
    opening, prompt = the(RequestOpen, bodies), the(PromptBody, bodies)
    kind = opening.constraint_kind
    try:
        return GenerationRequest(
            id=request,
            prompt=prompt.ids,
            mode=Mode(opening.mode),
            modes_permitted=frozenset(map(Mode, opening.modes_permitted)),
            max_tokens=opening.max_tokens,
            sampling=_sampling(opening),
            block_length=opening.block_length,
            threshold=opening.threshold,
            max_steps=opening.max_steps,
            seed_first=opening.seed_first,
            stop_ids=frozenset(opening.stop_ids),
            stop_strings=opening.stop_strings,
            top_logprobs=opening.top_logprobs,
            think_budget=opening.think_budget,
            constraint=Constraint(ConstraintKind(kind), opening.constraint_source) if kind else None,
        )
    except (ValueError, EngineError) as error:
        raise ReplayRefused(f"this release cannot ask what was asked then: {error}") from error


def _sampling(opening: RequestOpen) -> Sampling:
    return Sampling(
        temperature=opening.temperature,
        seed=opening.seed,
        choice=opening.choice,
        top_p=opening.top_p,
        top_k=opening.top_k,
        min_p=opening.min_p,
        presence_penalty=opening.presence_penalty,
        frequency_penalty=opening.frequency_penalty,
        repetition_penalty=opening.repetition_penalty,
    )


def _by_load(opening: RequestOpen) -> bool:
    """Whether the load of that moment chose how the answer came about, and nothing else hung on that."""
    return opening.mode == Mode.AUTO and not opening.gated


def _claim(opening: RequestOpen, engine: Engine) -> tuple[Claim, str]:
    if opening.mode == Mode.AUTO and opening.gated:
        return Claim.COMPARED, "the mode followed the load of that moment, and the gate judged what that mode made"
    if opening.numeric != Numeric.STRICT:
        return Claim.COMPARED, f"it ran under {opening.numeric!r}, which promises no bits"
    if opening.fingerprint != engine.fingerprint:
        return Claim.COMPARED, "device, torch, kernels or threads differ from those that made it"
    same = "strict, with the same weights and numeric fingerprint"
    return Claim.EXACT, f"{same}; the load of that moment chose the mode, so the tokens count" if _by_load(opening) else same


def _run(engine: Engine, request: GenerationRequest) -> list[Event]:
    try:
        engine.submit(request)
    except EngineError as error:
        raise ReplayRefused(f"the engine does not take it: {error}") from error
    events: list[Event] = []
    while not engine.idle():
        events += engine.step()
    return events


def first_difference(recorded: Course, again: Course) -> str | None:
    """The first place where a replay departs from the record, None if nowhere.

    A generation that was cut short is compared as far as it came.
    """
    cut = not recorded.whole
    for place, (was, now) in enumerate(zip_longest(recorded.items, again.items)):
        if was is None:
            return None if cut else f"the replay goes on after item {place}, where the record ends: {_short(now)}"
        if now is None or not _equal(was, now, cut and place == len(recorded.items) - 1):
            return f"item {place}: recorded {_short(was)}, now {_short(now)}"
    for position, row in sorted(recorded.ranked.items()):
        if again.ranked.get(position) != row:
            return f"alternatives at position {position}: recorded {row}, now {again.ranked.get(position)}"
    if not cut and recorded.close != again.close:
        return f"the totals: recorded {recorded.close}, now {again.close}"
    return None


def _equal(was: Item, now: Item, unfinished: bool) -> bool:
    if was == now:
        return True
    return unfinished and was.begins(now)


def _short(item: Item | None) -> str:
    text = "nothing" if item is None else str(item)
    return text if len(text) <= 300 else f"{text[:300]}..."
