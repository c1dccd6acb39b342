"""Log-probabilities on their way to a client: what one output token weighed, and which others were likely in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from audit import records
from audit.records import BlockTrace, Body, DecodeRun, SpecRounds
from engine.events import Alternatives, BlockDecoded, Event, Output
from gateway.testimony import output_of

Decode = Callable[[tuple[int, ...]], bytes]


@dataclass(frozen=True, slots=True)
class TokenScore:
    """One output token: its bytes, its raw log-probability at temperature 1, and the likeliest tokens, best first."""

    data: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """The next bytes of an answer, and the scores of their tokens if the client is told of single tokens."""

    data: bytes
    scores: tuple[TokenScore, ...] = ()


class Unscored:
    """Follows the events of a generation whose client is not told of single tokens: the bytes of its output ids."""

    def __init__(self, decode_bytes: Decode) -> None:
        self._decode = decode_bytes

    def said(self, events: Iterable[Event]) -> Said:
        """What these events add to the answer."""
        return Said(self._decode(tuple(chain.from_iterable(map(output_of, events)))))


class Scorer:
    """Follows the events of one generation and scores its output ids one by one."""

    def __init__(self, decode_bytes: Decode, start: int) -> None:
        """`start` is the absolute position of the first output token."""
        self._decode, self._position = decode_bytes, start
        self._top: dict[int, tuple[tuple[bytes, float], ...]] = {}

    def said(self, events: Iterable[Event]) -> Said:
        """What these events add to the answer, with one score per output id, in order."""
        scores = tuple(self._scores(events))
        return Said(b"".join(score.data for score in scores), scores)

    def _scores(self, events: Iterable[Event]) -> list[TokenScore]:
        found: list[TokenScore] = []
        for event in events:
            if isinstance(event, Alternatives):
                self._remember(event)
            elif isinstance(event, Output):
                logprobs = event.verifier_logprob if isinstance(event, BlockDecoded) else event.logprob
                told = zip(event.output, logprobs[: len(event.output)], strict=True)
                found += [self._score(token, value) for token, value in told]
        return found

    def recorded(self, bodies: Iterable[Body]) -> list[TokenScore]:
        """The same from the records of these events."""
        found: list[TokenScore] = []
        for body in bodies:
            if isinstance(body, records.Alternatives):
                self._remember(body)
            else:
                found += [self._score(token, value) for token, value in _weighed(body)]
        return found

    def _score(self, token: int, logprob: float) -> TokenScore:
        score = TokenScore(self._decode((token,)), logprob, self._top.pop(self._position, ()))
        self._position += 1
        return score

    def _remember(self, event: Alternatives | records.Alternatives) -> None:
        pairs = [(self._decode((token,)), value) for token, value in zip(event.ids, event.logprob, strict=True)]
        for place in range(len(pairs) // event.width):
            self._top[event.start + place] = tuple(pairs[place * event.width : (place + 1) * event.width])


def recorded_scores(decode: Decode, start: int, bodies: Iterable[Body]) -> list[TokenScore]:
    """The scores of all tokens of a recorded answer whose first token is at `start`."""
    return Scorer(decode, start).recorded(bodies)


def _weighed(body: Body) -> Iterable[tuple[int, float]]:
    """Output ids and their log-probabilities."""
    match body:
        case BlockTrace():
            return zip(body.output, body.verifier_logprob, strict=False)
        case SpecRounds():
            return (pair for each in body.rounds for pair in zip(each.output, each.logprob, strict=False))
        case DecodeRun():
            return zip(body.output, body.logprob, strict=True)
        case _:
            return ()
