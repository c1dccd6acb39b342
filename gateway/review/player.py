"""The data of the player: every state of the log, in numbers and words that a page draws without knowing a model.

Words are text of the model, written so that nothing of them is invisible; a page puts them into text nodes and attributes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.review.review import Review
from gateway.review.sentences import heading, sentence
from gateway.review.stages import Denoised, Frame, Round, Run, Scored
from gateway.review.states import State, states_of

PLACES_MOST: Final = 300_000
"""Places of all frames together; frames beyond have a sentence and a bar, and no places."""
DIGITS: Final = 4
_KINDS: Final[Mapping[type[Frame], str]] = {Denoised: "step", Scored: "score", Round: "round", Run: "run"}


def player_of(review: Review) -> dict[str, Any]:
    """A document for JSON: `words`, and `frames` whose `places` are [standing, word, probability, is it the answer's token]."""
    words: dict[str, int] = {}
    frames: list[dict[str, Any]] = []
    left = PLACES_MOST
    for state in states_of(review):
        left -= len(state.places)
        frames.append(_frame(review, state, words if left >= 0 else None))
    return {
        "tokens": len(review.tokens),
        "words": list(words),
        "frames": frames,
        "spans": [[span.first, span.last] for span in review.spans],
        "bounded": left < 0,
    }


def _frame(review: Review, state: State, words: dict[str, int] | None) -> dict[str, Any]:
    stage, frame = state.stage, state.frame
    return {
        "number": frame.number,
        "stage": stage.number,
        "kind": kind_of(frame),
        "title": heading(stage, frame, len(review.stages)),
        "says": sentence(stage, frame, review.words),
        "share": round(frame.share, DIGITS),
        "start": state.start,
        "settled": state.settled,
        "places": [] if words is None else _places(review, state, words),
    }


def kind_of(frame: Frame) -> str:
    """The name of a frame's kind."""
    return _KINDS[type(frame)]


def _places(review: Review, state: State, words: dict[str, int]) -> list[list[float | int]]:
    places: list[list[float | int]] = []
    for index, place in enumerate(state.places, state.start):
        word = words.setdefault(review.words.of(place.id), len(words))
        same = 0 <= index < len(review.tokens) and review.tokens[index].id == place.id
        places.append([int(place.standing), word, round(place.confidence, DIGITS), int(same)])
    return places
