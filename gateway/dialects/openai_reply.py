"""OpenAI's chat completions, outward: documents, server-sent chunks and the `palimpsest` object, as exact bytes.

A chunk is one `data:` line and a blank line, LF only; a stream ends with `data: [DONE]`. An error after the first byte is
one chunk with the error document, and then the stream just ends: no `[DONE]`, so nobody takes it for an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.errors import GatewayError
from gateway.pieces import Account, Text
from gateway.scores import TokenScore

DONE: Final = b"data: [DONE]\n\n"
FINISH: Final = {"stop": "stop", "length": "length"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields that every document and chunk of one answer repeats."""

    generation: UUID
    model: str
    created: int
    wants_usage: bool
    wants_logprobs: bool = False

    def document(self, answer: Text, account: Account) -> bytes:
        """The whole answer of a request without `stream`."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": self._logprobs(answer.scores),
            "finish_reason": FINISH.get(account.reason, "stop"),
        }
        body = self._head("chat.completion") | {
            "choices": [choice],
            "usage": account.usage(),
            "palimpsest": account.extension(),
        }
        return msgspec.json.encode(body)

    def opening(self) -> bytes:
        """The first chunk: the role, no text."""
        return self._chunk({"role": "assistant", "content": ""}, None, {})

    def delta(self, piece: Text) -> bytes:
        """One piece of released text."""
        return self._chunk({"content": piece.text}, None, {}, piece.scores)

    def closing(self, account: Account) -> bytes:
        """Finish reason with the `palimpsest` object, usage if it was asked for, and the end of the stream."""
        last = self._chunk({}, FINISH.get(account.reason, "stop"), {"palimpsest": account.extension()})
        if not self.wants_usage:
            return last + DONE
        usage = self._head("chat.completion.chunk") | {"choices": [], "usage": account.usage()}
        return last + _event(usage) + DONE

    def failure(self, error: GatewayError) -> bytes:
        """An error after the stream has begun."""
        return b"data: " + error.body() + b"\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.generation.hex}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": None,
        }

    def _chunk(
        self, delta: dict[str, str], finish: str | None, more: dict[str, Any], scores: Sequence[TokenScore] = ()
    ) -> bytes:
        logprobs = self._logprobs(scores) if scores else None
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        body = self._head("chat.completion.chunk") | {"choices": [choice]} | more
        if self.wants_usage:
            body["usage"] = None
        return _event(body)

    def _logprobs(self, scores: Sequence[TokenScore]) -> dict[str, Any] | None:
        if not self.wants_logprobs:
            return None
        content = [
            _weighed(score.data, score.logprob) | {"top_logprobs": [_weighed(*other) for other in score.top]}
            for score in scores
        ]
        return {"content": content, "refusal": None}


def _weighed(data: bytes, logprob: float) -> dict[str, Any]:
    """One token in OpenAI's words; bytes that are not whole UTF-8 read as U+FFFD in `token` and are exact in `bytes`."""
    return {"token": data.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(data)}


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"
