"""The state of the answer after any frame: what stood at each place of the block or draft, and what was settled before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from gateway.review.diffing import Part, difference, words_in
from gateway.review.marks import probability
from gateway.review.review import NoReview, Review
from gateway.review.stages import Denoised, Frame, Round, Run, Scored, Stage, frames_of
from gateway.review.words import MASK


class Standing(IntEnum):
    """How a place stands in a frame; numbers are those of the player's data."""

    MASKED = 0
    """Open: its token is a proposal, which nothing has kept."""
    KEPT = 1
    """Kept by this frame."""
    KNOWN = 2
    """Decided before it."""
    REJECTED = 3
    """A draft that the verifier replaced."""
    DROPPED = 4
    """A draft behind a rejected one."""
    DOUBTED = 5
    """A token of a block that the causal pass would not have picked."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place in a frame: the id there, how it stands, and the probability that the frame told of it."""

    standing: Standing
    id: int
    confidence: float


@dataclass(frozen=True, slots=True)
class State:
    """After a frame: the answer has `settled` tokens; `places` begin at the token `start` of the answer (may be beyond it)."""

    stage: Stage
    frame: Frame
    start: int
    settled: int
    places: tuple[Place, ...]


def states_of(review: Review) -> Iterator[State]:
    """After every frame, in order."""
    settled = 0
    for stage, frame in frames_of(review.stages):
        settled += _added(frame)
        yield State(stage, frame, frame.start - review.first, settled, tuple(_places(frame)))


def state_of(review: Review, number: int) -> State:
    """After one frame; raises NoReview for one that is not there."""
    found = next((state for state in states_of(review) if state.frame.number == number), None)
    if found is None:
        raise NoReview(f"this generation has no step {number}")
    return found


def _added(frame: Frame) -> int:
    match frame:
        case Denoised():
            return 0
        case Scored(block=block):
            return block.emitted
        case Round(told=told):
            return len(told.output)
        case Run(told=run):
            return len(run.output)


def _places(frame: Frame) -> Iterator[Place]:
    match frame:
        case Denoised(step=step):
            planes = zip(step.masked, step.committed, step.proposal, step.confidence, strict=True)
            for masked, kept, token, confidence in planes:
                standing = Standing.KEPT if kept else Standing.MASKED if masked else Standing.KNOWN
                yield Place(standing, token, confidence)
        case Scored(block=block):
            for token, agreed, logprob in zip(block.tokens, block.agreement, block.verifier_logprob, strict=True):
                yield Place(Standing.KNOWN if agreed else Standing.DOUBTED, token, probability(logprob))
        case Round():
            yield from _drafted(frame)
        case Run(told=run):
            for token, logprob in zip(run.output, run.logprob, strict=True):
                yield Place(Standing.KEPT, token, probability(logprob))


def _drafted(frame: Round) -> Iterator[Place]:
    told, rejected = frame.told, frame.rejected
    for place, (token, confidence) in enumerate(zip(told.draft, told.draft_confidence, strict=True)):
        if not told.complete and place:
            standing = Standing.MASKED
        elif rejected is None or place < rejected:
            standing = Standing.KNOWN if place < frame.ahead else Standing.KEPT
        else:
            standing = Standing.REJECTED if place == rejected else Standing.DROPPED
        yield Place(standing, token, confidence)


def text_of(review: Review, state: State) -> tuple[str, ...]:
    """What stood there then, token by token: what was settled, then the places of a block, open ones as masks."""
    settled = tuple(token.text for token in review.tokens[: state.settled])
    drafting = isinstance(state.frame, Denoised | Scored) and state.settled <= state.start
    return (*settled, *(_read(review, place) for place in state.places)) if drafting else settled


def _read(review: Review, place: Place) -> str:
    if place.standing is Standing.MASKED:
        return MASK
    return review.words.decode((place.id,)).decode("utf-8", "replace")


def version(review: Review, name: str) -> Sequence[str]:
    """A draft by its name, in parts: `step-N` after a frame, `answer`, `cycle-N` of an edited answer. Raises NoReview."""
    kind, _, number = name.partition("-")
    if name in {"answer", "cycle-1"}:
        return [token.text for token in review.tokens]
    if kind == "step" and number.isdecimal() and len(number) < 10:
        return text_of(review, state_of(review, int(number)))
    if kind == "cycle" and number.isdecimal() and len(number) < 10 and int(number) in review.edits:
        return words_in(review.edits[int(number)])
    raise NoReview("there is no such draft; name `step-N`, `answer` or `cycle-N`")


def compared(review: Review, old: str, new: str) -> tuple[Part, ...]:
    """Two drafts: token by token, or word by word where either was written by a person."""
    left, right = version(review, old), version(review, new)
    if "cycle" in (old.partition("-")[0], new.partition("-")[0]):
        left, right = words_in("".join(left)), words_in("".join(right))
    return difference(left, right)
