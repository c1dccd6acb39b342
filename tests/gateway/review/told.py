"""A generation of a real engine and its records, for tests of what a reviewer is shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from audit.records import BODIES, Body, Kind, RequestOpen, decode_body, encode_body, kind_of, schema_of
from engine.events import Event, Finished
from engine.model.checkpoint import LoadedModel
from engine.request import GenerationRequest, Mode
from gateway.review.review import Review, review_of
from gateway.testimony import attest, close
from tests.audit.samples import SAMPLES
from tests.engine.harness import asked, decoded, model, tokenizer

PROMPT = (1, 200, 300)


@dataclass(frozen=True)
class Told:
    """What the engine said, the records of it as they come back from their bytes, and the review of these."""

    request: GenerationRequest
    events: Sequence[Event]
    bodies: Sequence[Body]

    @property
    def review(self) -> Review:
        return review_of(self.bodies, tokenizer().decode_bytes)


@lru_cache(maxsize=2)
def speaking(seed: int = 0) -> LoadedModel:
    """A random model whose ids are those of the tokenizer, so that its answers are text (and broken UTF-8)."""
    return model(seed, tokenizer().size)


def told(mode: Mode, tokens: int = 40, seed: int = 0, **changes: Any) -> Told:
    """One generation, run alone."""
    request = asked(mode, PROMPT, tokens, **changes)
    return recorded(request, decoded(speaking(seed), request))


def recorded(request: GenerationRequest, events: Sequence[Event]) -> Told:
    """The records of these events, with the opening of their request."""
    finished = events[-1]
    assert isinstance(finished, Finished)
    bodies = [opening(request), *(each.body for each in attest(events)), close(finished, 0).body]
    return Told(request, events, [_again(body) for body in bodies])


def opening(request: GenerationRequest) -> RequestOpen:
    """How a request stands in the log."""
    sample = SAMPLES[Kind.REQUEST_OPEN]
    assert isinstance(sample, RequestOpen)
    return replace(
        sample,
        mode=request.mode.value,
        block_length=request.block_length,
        prompt_tokens=len(request.prompt),
        stop_ids=tuple(sorted(request.stop_ids)),
        stop_strings=request.stop_strings,
        **asdict(request.sampling),
    )


def _again(body: Body) -> Body:
    """The body that the log gives back."""
    kind = kind_of(body)
    again = decode_body(kind, schema_of(kind), encode_body(body))
    assert isinstance(again, BODIES[kind])
    return again
