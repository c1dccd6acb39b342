"""The grammar of a chat stream, read strictly: bytes in any chunks, one event at a time, and no event out of its place."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

FINISHES = ("stop", "length", "tool_calls", "content_filter")


@dataclass
class Told:
    """What one answer of the stream has said so far."""

    opened: bool = False
    text: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    scores: int = 0
    finish: str | None = None


class ChatStream:
    """Takes the bytes of one response; raises AssertionError at the first that breaks the grammar.

    opening of every choice, deltas, one closing for each (the `palimpsest` object with it), usage if asked for, `[DONE]`. An
    error event may end the stream at any place after the openings, and nothing follows it. Comments may stand between events.
    """

    def __init__(self, *, usage: bool = False, choices: int = 1) -> None:
        self._wants_usage = usage
        self.choices = [Told() for _ in range(choices)]
        self.usage: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.accounts: list[dict[str, Any]] = []
        self.done = False
        self._rest = b""
        self._head: dict[str, Any] | None = None

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        assert b"\r" not in data
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            self._event(event.decode())

    def end(self) -> None:
        """The connection was closed by the server: nothing is half said."""
        assert self._rest == b""
        assert self.done != (self.error is not None)

    def _event(self, event: str) -> None:
        assert not self.done and self.error is None, "nothing follows the end"
        if event.startswith(":"):
            return
        assert event.startswith("data: ") and "\n" not in event
        payload = event.removeprefix("data: ")
        if payload == "[DONE]":
            self._finish()
            return
        document = json.loads(payload)
        if "error" in document:
            assert set(document["error"]) == {"message", "type", "param", "code"}
            self.error = document["error"]
            return
        self._chunk(document)

    def _finish(self) -> None:
        assert all(told.finish for told in self.choices)
        assert (self.usage is not None) == self._wants_usage
        self.done = True

    def _chunk(self, document: dict[str, Any]) -> None:
        head = {key: document.pop(key) for key in ("id", "object", "created", "model", "system_fingerprint")}
        assert self._head in (None, head) and head["object"] == "chat.completion.chunk"
        self._head = head
        choices, usage = document.pop("choices"), document.pop("usage", "absent")
        if not choices:
            assert self._wants_usage and self.usage is None and all(told.finish for told in self.choices)
            assert set(usage) == {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"}
            self.usage = usage
            return
        assert usage == (None if self._wants_usage else "absent") and self.usage is None
        (choice,) = choices
        assert set(choice) == {"index", "delta", "logprobs", "finish_reason"}
        self._choice(self.choices[choice["index"]], choice)
        account = document.pop("palimpsest", None)
        assert (account is None) == (choice["finish_reason"] is None) and not document
        if account is not None:
            self.accounts.append(account)

    def _choice(self, told: Told, choice: dict[str, Any]) -> None:
        delta = dict(choice["delta"])
        assert told.finish is None
        if not told.opened:
            assert delta == {"role": "assistant", "content": ""} and choice["finish_reason"] is None
            told.opened = True
            return
        assert all(other.opened for other in self.choices)
        told.text += self._said(delta.pop("content", None))
        told.reasoning += self._said(delta.pop("reasoning_content", None))
        for call in delta.pop("tool_calls", ()):
            self._call(told, call)
        assert not delta
        told.scores += len(choice["logprobs"]["content"]) if choice["logprobs"] else 0
        told.finish = choice["finish_reason"]
        assert told.finish in (None, *FINISHES)
        if told.finish == "tool_calls":
            assert told.calls
        if told.finish:
            assert all(isinstance(json.loads(call["arguments"]), dict) for call in told.calls)

    @staticmethod
    def _said(text: str | None) -> str:
        assert text is None or text, "an empty delta says nothing"
        return text or ""

    @staticmethod
    def _call(told: Told, call: dict[str, Any]) -> None:
        function = call["function"]
        if call["index"] == len(told.calls):
            assert set(call) == {"index", "id", "type", "function"} and call["type"] == "function"
            assert function["arguments"] == "" and function["name"] and call["id"]
            told.calls.append({"id": call["id"], "name": function["name"], "arguments": ""})
            return
        assert call["index"] == len(told.calls) - 1 and set(call) == {"index", "function"} and set(function) == {"arguments"}
        told.calls[-1]["arguments"] += function["arguments"]
