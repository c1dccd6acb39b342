"""The answer token by token: which text each added, how sure the model was of it, and by which frame it came.

Texts joined are the answer as it is delivered: the same bytes, cut before the same stop string, read as the same UTF-8. A token
that only begins a character adds nothing; the one that completes it adds the character.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from audit.records import BlockTrace
from gateway.review.marks import certainty, probability, unsure
from gateway.review.stages import Denoised, Frame, Round, Run, Scored, Stage
from gateway.review.words import Decode
from gateway.stop_text import StopText


@dataclass(frozen=True, slots=True)
class Token:
    """One token of the answer, None for what its mode does not tell.

    `confidence` is the denoiser's at commitment, `drafted` the drafter's in a guess that held, `logprob` the causal pass's at
    temperature 1, `agreement` says that the causal pass would have picked the same. `frame` is the number of the frame
    that made it output.
    """

    index: int
    position: int
    id: int
    text: str
    confidence: float | None
    drafted: float | None
    logprob: float | None
    agreement: bool | None
    frame: int

    @property
    def certainty(self) -> float | None:
        """The least probability that a pass which answers for it gave it; a drafter, which is verified, does not."""
        causal = None if self.logprob is None else probability(self.logprob)
        return certainty((self.confidence, causal))

    @property
    def step(self) -> int:
        """0 (clear) to 4 (unsure)."""
        return unsure(self.certainty)


@dataclass(frozen=True, slots=True)
class _Raw:
    id: int
    confidence: float | None
    drafted: float | None
    logprob: float | None
    agreement: bool | None
    frame: int


def tokens_of(stages: Sequence[Stage], first: int, stops: Sequence[str], decode: Decode) -> tuple[Token, ...]:
    """The tokens of the answer, the first at absolute position `first`; `stops` are the strings that end its text."""
    raw = [token for stage in stages for frame in stage.frames for token in _added(frame)]
    texts = _texts([decode((token.id,)) for token in raw], stops)
    return tuple(
        Token(index, first + index, each.id, text, each.confidence, each.drafted, each.logprob, each.agreement, each.frame)
        for index, (each, text) in enumerate(zip(raw, texts, strict=True))
    )


def _texts(parts: Sequence[bytes], stops: Sequence[str]) -> list[str]:
    ends = StopText(stops)
    left = len(ends.clear(b"".join(parts)) + ends.rest())
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")
    texts: list[str] = []
    for part in parts:
        texts.append(utf8.decode(part[:left]))
        left -= min(left, len(part))
    if texts:
        texts[-1] += utf8.decode(b"", final=True)
    return texts


def _added(frame: Frame) -> list[_Raw]:
    """What a frame added to the answer; a block is output once it is scored."""
    match frame:
        case Denoised():
            return []
        case Scored(block=block):
            return _block(block, frame.number)
        case Round(told=told):
            kept = told.draft_confidence[frame.ahead : frame.ahead + frame.kept]
            return _spoken(told.output, told.logprob, kept, frame.number)
        case Run(told=run):
            return _spoken(run.output, run.logprob, (), frame.number)


def _block(block: BlockTrace, frame: int) -> list[_Raw]:
    opinions = zip(block.commit_confidence, block.verifier_logprob, block.agreement, strict=True)
    told = zip(block.output, opinions, strict=False)
    return [_Raw(token, confidence, None, logprob, agreed, frame) for token, (confidence, logprob, agreed) in told]


def _spoken(ids: Sequence[int], logprob: Sequence[float], drafted: Sequence[float], frame: int) -> list[_Raw]:
    """Causal tokens, the first of which were drafted."""
    told = zip_longest(ids, logprob[: len(ids)], drafted[: len(ids)])
    return [_Raw(token, None, guessed, likely, None, frame) for token, likely, guessed in told]
