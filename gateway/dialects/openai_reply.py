"""OpenAI's two older dialects, outward: documents, server-sent chunks and the `palimpsest` object, as exact bytes.

A chunk is one `data:` line and a blank line, LF only; a stream ends with `data: [DONE]`. An error after the first byte is
one chunk with the error document, and then the stream just ends: no `[DONE]`, so nobody takes it for an answer. An answer that
was withheld is no error: it ends with our note for a text and `content_filter`, which no client asks for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from uuid import UUID

import msgspec

from gateway.calls import Part
from gateway.dialects.openai_choice import Choice
from gateway.errors import GatewayError
from gateway.pieces import Account, usage, usage_of
from gateway.scores import TokenScore

DONE: Final = b"data: [DONE]\n\n"
ALIVE: Final = b": still here\n\n"
"""A comment: a chunk without choices would break clients that read the first of them."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields that every document and chunk of one response repeats."""

    generation: UUID
    model: str
    created: int
    wants_usage: bool

    prefix: ClassVar[str] = "chatcmpl-"
    whole: ClassVar[str] = "chat.completion"
    chunk: ClassVar[str] = "chat.completion.chunk"

    def document(self, choices: Sequence[Choice]) -> bytes:
        """The whole response of a request without `stream`; each choice has ended."""
        body = self._head(self.whole) | {
            "choices": [choice.document(alone=len(choices) == 1) for choice in choices],
            "usage": self._usage(choices),
            "palimpsest": choices[0].extension(),
        }
        return msgspec.json.encode(body)

    def opening(self, choice: Choice) -> bytes:
        """The first chunk of a choice; a dialect without one says nothing."""
        fields = choice.opening()
        return b"" if fields is None else self._event({"choices": [fields]})

    def delta(self, choice: Choice, part: Part, scores: Sequence[TokenScore] = ()) -> bytes:
        """One part of the answer, and the scores of the tokens that came with it."""
        fields = choice.delta(part, scores)
        return b"" if fields is None else self._event({"choices": [fields]})

    def closing(self, choice: Choice) -> bytes:
        """The finish reason of a choice, with the `palimpsest` object."""
        return self._event({"choices": [choice.closing()], "palimpsest": choice.extension()})

    def trailer(self, choices: Sequence[Choice]) -> bytes:
        """Usage if it was asked for, and the end of the stream."""
        if not self.wants_usage:
            return DONE
        return _event(self._head(self.chunk) | {"choices": [], "usage": self._usage(choices)}) + DONE

    def failure(self, error: GatewayError) -> bytes:
        """An error after the stream has begun."""
        return b"data: " + error.body() + b"\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"{self.prefix}{self.generation.hex}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": None,
        }

    def _event(self, more: dict[str, Any]) -> bytes:
        return _event(self._head(self.chunk) | more | ({"usage": None} if self.wants_usage else {}))

    def _usage(self, choices: Sequence[Choice]) -> dict[str, Any]:
        accounts = [choice.account for choice in choices if isinstance(choice.account, Account)]
        return usage_of(accounts) if accounts else usage(choices[0].prompt_tokens, 0, 0)


class CompletionEnvelope(Envelope):
    """The same for completions, whose chunks look like their documents."""

    __slots__ = ()
    prefix = "cmpl-"
    whole = chunk = "text_completion"


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"
