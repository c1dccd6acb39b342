"""Log-probabilities in the shapes of OpenAI's dialects; a token that is no whole UTF-8 reads as U+FFFD."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from gateway.scores import TokenScore


def chat_logprobs(scores: Sequence[TokenScore]) -> dict[str, Any]:
    """Token by token, each with its exact bytes and those of its alternatives."""
    return {"content": token_logprobs(scores), "refusal": None}


def token_logprobs(scores: Sequence[TokenScore]) -> list[dict[str, Any]]:
    """Token by token, as a response has them too."""
    return [
        _weighed(score.data, score.logprob) | {"top_logprobs": [_weighed(*other) for other in score.top]} for score in scores
    ]


def legacy_logprobs(scores: Sequence[TokenScore], offset: int) -> dict[str, Any]:
    """In columns; `offset` is the place in the answer, in characters, at which the first token begins.

    The tokens of one character all begin at its place.
    """
    utf8, offsets = codecs.getincrementaldecoder("utf-8")("replace"), [offset]
    for score in scores:
        offsets.append(offsets[-1] + len(utf8.decode(score.data)))
    return {
        "tokens": [_told(score.data) for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [{_told(data): logprob for data, logprob in score.top} for score in scores],
        "text_offset": offsets[:-1],
    }


def _weighed(data: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _told(data), "logprob": logprob, "bytes": list(data)}


def _told(data: bytes) -> str:
    return data.decode("utf-8", "replace")
