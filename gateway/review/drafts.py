"""What stood at the place of a token before: drafts that a verifier, a gate or a later step replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from audit.trace import quantise
from gateway.review.stages import Denoised, Frame, Round, Run, Scored, Stage, frames_of
from gateway.review.tokens import Token
from gateway.review.words import Words

DRAFTS_MOST: Final = 8
"""Drafts that are kept of one token, the latest."""


class Why(StrEnum):
    """Who put something else in the place of a draft."""

    REJECTED = "rejected"
    """The verifier, right here."""
    DROPPED = "dropped"
    """The verifier, at an earlier place: what was drafted behind it was lost with it."""
    REFINED = "refined"
    """A gate had the place masked again."""
    REDONE = "redone"
    """A gate had the block decoded again in `ar`."""
    REVISED = "revised"
    """A later denoising step, before anything was kept here."""

    @property
    def struck(self) -> bool:
        """Whether it was judged by itself and stands struck through on the sheet."""
        return self in (Why.REJECTED, Why.REFINED, Why.REDONE)


@dataclass(frozen=True, slots=True)
class Draft:
    """An id that was drafted for a place and is not what stands there now."""

    id: int
    word: str
    confidence: float
    why: Why
    frame: int


def drafts_of(stages: Sequence[Stage], tokens: Sequence[Token], words: Words) -> Mapping[int, tuple[Draft, ...]]:
    """By the index of their token, oldest first; what was drafted behind the end of the answer has no token."""
    if not tokens:
        return {}
    first, found = tokens[0].position, dict[int, list[Draft]]()
    for frame, position, token, confidence, why in _replaced(stages):
        index = position - first
        if 0 <= index < len(tokens) and tokens[index].id != token:
            kept = found.setdefault(index, [])
            kept[:] = [each for each in kept if each.id != token or why is not Why.REVISED]
            kept.append(Draft(token, words.alone(token), confidence, why, frame.number))
    return {index: tuple(kept[-DRAFTS_MOST:]) for index, kept in found.items()}


_Replaced = tuple[Frame, int, int, float, Why]


def _replaced(stages: Iterable[Stage]) -> Iterator[_Replaced]:
    """Everything that was drafted, with its absolute position; what stands in the end is among it."""
    for stage, frame in frames_of(stages):
        match frame:
            case Denoised():
                yield from _proposals(frame)
            case Scored() if stage.turned_down:
                why = Why.REFINED if stage.verdict is not None and stage.verdict.verdict == "refine" else Why.REDONE
                confidence = frame.block.commit_confidence
                for place, token in enumerate(frame.block.tokens):
                    yield frame, frame.start + place, token, confidence[place], why
            case Round() if frame.rejected is not None:
                told = frame.told
                for place in range(frame.rejected, len(told.draft)):
                    why = Why.REJECTED if place == frame.rejected else Why.DROPPED
                    yield frame, told.start + place, told.draft[place], told.draft_confidence[place], why
            case Scored() | Round() | Run():
                pass


def _proposals(frame: Denoised) -> Iterator[_Replaced]:
    step = frame.step
    for place, masked in enumerate(step.masked):
        if masked and not step.committed[place]:
            confidence = quantise(step.confidence[place])
            yield frame, frame.start + place, step.proposal[place], confidence, Why.REVISED
