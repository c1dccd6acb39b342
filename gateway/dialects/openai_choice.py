"""One answer of a response in OpenAI's two older dialects: it is told part by part, or collected and told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.calls import CallArguments, CallBegun, Part, Reasoning
from gateway.dialects.openai_logprobs import chat_logprobs, legacy_logprobs
from gateway.errors import Withheld
from gateway.pieces import Account, Text
from gateway.scores import TokenScore

FINISH: Final = {"stop": "stop", "length": "length"}


@dataclass
class Choice:
    """One answer of a response, in the making; `account` is how it ended, `about` what is known of it before that."""

    index: int
    prompt_tokens: int
    about: dict[str, Any]
    wants_logprobs: bool = False
    account: Account | Withheld | None = None
    _said: list[str] = field(default_factory=list)
    _thought: list[str] = field(default_factory=list)
    _calls: list[dict[str, Any]] = field(default_factory=list)
    _held: list[TokenScore] = field(default_factory=list)

    def take(self, part: Part) -> None:
        """Keep one part for the document."""
        match part:
            case Text(text):
                self._said.append(text)
            case Reasoning(text):
                self._thought.append(text)
            case CallBegun(call_id, name):
                function = {"name": name, "arguments": ""}
                self._calls.append({"id": call_id, "type": "function", "function": function})
            case CallArguments(told):
                self._calls[-1]["function"]["arguments"] += told

    def hold(self, scores: Sequence[TokenScore]) -> None:
        """Keep scores for the document, or for the next chunk."""
        self._held += scores

    def end(self, account: Account | Withheld) -> None:
        """The answer has ended so."""
        self.account = account

    @property
    def finish(self) -> str:
        """OpenAI's word for how it ended."""
        if not isinstance(self.account, Account):
            return "content_filter"
        return "tool_calls" if self._calls and self.account.reason == "stop" else FINISH.get(self.account.reason, "stop")

    def extension(self) -> dict[str, Any]:
        """The `palimpsest` object; of a withheld answer it says that the text is ours."""
        if isinstance(self.account, Account):
            return self.account.extension()
        return self.about | ({} if self.account is None else self.account.extension())

    @property
    def text(self) -> str:
        """All that it says; instead of a withheld answer our note."""
        return self.account.message if isinstance(self.account, Withheld) else "".join(self._said)

    def document(self, *, alone: bool) -> dict[str, Any]:
        """The choice of a whole response; beside others each has its own `palimpsest` object."""
        fields = self._whole() | {"logprobs": self._logprobs(), "finish_reason": self.finish}
        return {"index": self.index} | fields | ({} if alone else {"palimpsest": self.extension()})

    def opening(self) -> dict[str, Any] | None:
        """The first chunk: the role, no text."""
        return self._chunk({"role": "assistant", "content": ""})

    def delta(self, part: Part, scores: Sequence[TokenScore] = ()) -> dict[str, Any] | None:
        """The chunk of one part; None for one that needs none."""
        match part:
            case Text(text):
                return self._chunk({"content": text}, scores)
            case Reasoning(text):
                return self._chunk({"reasoning_content": text}, scores)
            case CallBegun(call_id, name):
                self.take(part)
                begun = {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
                return self._chunk({"tool_calls": [{"index": len(self._calls) - 1} | begun]}, scores)
            case CallArguments(told):
                called = {"index": len(self._calls) - 1, "function": {"arguments": told}}
                return self._chunk({"tool_calls": [called]}, scores)
        return None

    def closing(self) -> dict[str, Any]:
        """The last chunk: the finish reason, and our note where the answer was withheld."""
        said = {"content": self.text} if isinstance(self.account, Withheld) else {}
        return self._chunk(said) | {"finish_reason": self.finish}

    def _chunk(self, delta: dict[str, Any], scores: Sequence[TokenScore] = ()) -> dict[str, Any]:
        self.hold(scores)
        logprobs = self._logprobs() if self._held else None
        return {"index": self.index, "delta": delta, "logprobs": logprobs, "finish_reason": None}

    def _whole(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.text or (None if self._calls else ""), "refusal": None}
        if self._thought:
            message["reasoning_content"] = "".join(self._thought)
        return {"message": message | ({"tool_calls": self._calls} if self._calls else {})}

    def _logprobs(self) -> dict[str, Any] | None:
        """Of the tokens since it was last asked."""
        held, self._held = self._held, []
        return chat_logprobs(held) if self.wants_logprobs else None


@dataclass
class PlainChoice(Choice):
    """The same for completions: nothing but text."""

    _offset: int = 0

    def opening(self) -> None:
        """A completion begins with its text."""
        return

    def delta(self, part: Part, scores: Sequence[TokenScore] = ()) -> dict[str, Any] | None:
        """The chunk of a piece of text."""
        return self._piece(part.text, scores) if isinstance(part, Text) else None

    def closing(self) -> dict[str, Any]:
        """The last chunk: the finish reason, and our note where the answer was withheld."""
        return self._piece(self.text if isinstance(self.account, Withheld) else "") | {"finish_reason": self.finish}

    def _piece(self, text: str, scores: Sequence[TokenScore] = ()) -> dict[str, Any]:
        self.hold(scores)
        logprobs = self._logprobs() if self._held else None
        self._offset += len(text)
        return {"index": self.index, "text": text, "logprobs": logprobs, "finish_reason": None}

    def _whole(self) -> dict[str, Any]:
        return {"text": self.text}

    def _logprobs(self) -> dict[str, Any] | None:
        held, self._held = self._held, []
        return legacy_logprobs(held, self._offset) if self.wants_logprobs else None
