"""OpenAI's chat completions, outward: documents, server-sent chunks and the `palimpsest` object, as exact bytes.

A chunk is one `data:` line and a blank line, LF only; a stream ends with `data: [DONE]`. An error after the first byte is
one chunk with the error document, and then the stream just ends: no `[DONE]`, so nobody takes it for an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.errors import GatewayError

DONE: Final = b"data: [DONE]\n\n"
FINISH: Final = {"stop": "stop", "length": "length"}


@dataclass(frozen=True, slots=True)
class Account:
    """What a finished generation tells its client about itself; the records say the same and more.

    `first_seq` and `last_seq` are the lowest and highest sequence number of this request's records in the tenant's log.
    """

    generation: UUID
    mode: str
    policy_digest: str
    block_length: int
    seed: int
    prompt_tokens: int
    completion_tokens: int
    forwards: int
    records: int
    first_seq: int
    last_seq: int
    reason: str

    def extension(self) -> dict[str, Any]:
        """The `palimpsest` object. Tokens per forward of one generation = its tokens / its forwards (0 if none)."""
        return {
            "generation_id": str(self.generation),
            "mode": self.mode,
            "policy": self.policy_digest,
            "block_length": self.block_length,
            "seed": self.seed,
            "forwards": self.forwards,
            "tokens_per_forward": self.completion_tokens / self.forwards if self.forwards else 0.0,
            "records": self.records,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
        }

    def usage(self) -> dict[str, int]:
        """OpenAI's usage object."""
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields that every document and chunk of one answer repeats."""

    generation: UUID
    model: str
    created: int
    wants_usage: bool

    def document(self, text: str, account: Account) -> bytes:
        """The whole answer of a request without `stream`."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
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

    def delta(self, text: str) -> bytes:
        """One piece of released text."""
        return self._chunk({"content": text}, None, {})

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

    def _chunk(self, delta: dict[str, str], finish: str | None, more: dict[str, Any]) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        body = self._head("chat.completion.chunk") | {"choices": [choice]} | more
        if self.wants_usage:
            body["usage"] = None
        return _event(body)


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"
