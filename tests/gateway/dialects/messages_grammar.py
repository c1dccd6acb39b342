"""The grammar of a stream of /v1/messages, read strictly: what no client may be left to guess."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from tests.gateway.dialects.sse import Events, need

DELTAS: Final = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}
GROWS: Final = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
FIRST: Final = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
REASONS: Final = {"end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"}


@dataclass
class MessageReader:
    """A strict client: raises GrammarError at the first event that should not stand where it does."""

    start: dict[str, Any] | None = None
    blocks: list[dict[str, Any]] = field(default_factory=list)
    delta: dict[str, Any] | None = None
    stopped: bool = False
    pings: int = 0
    _open: bool = False
    _json: str = ""
    _events: Events = field(default_factory=Events)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        for event in self._events.feed(data):
            self._take(event)

    def finish(self) -> None:
        """The connection has ended and so must the message have."""
        need(self._events.at_rest and self.stopped, "the stream ends with message_stop", self.delta)

    @property
    def text(self) -> str:
        """All text blocks as one."""
        return "".join(block["text"] for block in self.blocks if block["type"] == "text")

    @property
    def comments(self) -> int:
        """How many comments came."""
        return self._events.comments

    def _take(self, event: dict[str, Any]) -> None:
        need(not self.stopped, "nothing follows message_stop", event)
        kind = event["type"]
        if kind == "ping":
            need(event == {"type": "ping"}, "a ping says nothing", event)
            self.pings += 1
        elif kind == "message_start":
            self._begin(event["message"])
        else:
            need(self.start is not None, "message_start comes first", event)
            getattr(self, f"_{kind}")(event)

    def _begin(self, message: dict[str, Any]) -> None:
        need(self.start is None, "one message_start", message)
        need(message["type"] == "message" and message["role"] == "assistant", "an assistant's message", message)
        need(message["content"] == [] and message["stop_reason"] is None is message["stop_sequence"], "empty", message)
        need(message["id"].startswith("msg_"), "ids tell what they name", message)
        _usage(message["usage"])
        self.start = message

    def _content_block_start(self, event: dict[str, Any]) -> None:
        need(not self._open and self.delta is None, "one block at a time, before message_delta", event)
        need(event["index"] == len(self.blocks), "indexes count from 0", event)
        block = event["content_block"]
        first = {key: value for key, value in block.items() if key not in ("type", "id", "name")}
        need(first == FIRST[block["type"]], "a block begins empty", block)
        self.blocks.append(dict(block))
        self._open, self._json = True, ""

    def _content_block_delta(self, event: dict[str, Any]) -> None:
        need(self._open and event["index"] == len(self.blocks) - 1, "a delta belongs to the open block", event)
        block, delta = self.blocks[-1], event["delta"]
        if delta["type"] == "signature_delta":
            need(block["type"] == "thinking" and block["signature"] == "", "one signature of a thought", event)
            block["signature"] = delta["signature"]
            return
        need(delta["type"] == DELTAS[block["type"]], "the delta of its block", event)
        grown = delta[GROWS[delta["type"]]]
        if block["type"] == "tool_use":
            self._json += grown
        else:
            need(grown != "", "a delta says something", event)
            block[block["type"]] += grown

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        need(self._open and event["index"] == len(self.blocks) - 1, "the open block ends", event)
        block = self.blocks[-1]
        if block["type"] == "tool_use":
            block["input"] = json.loads(self._json or "{}")
            need(isinstance(block["input"], dict), "the input of a tool is an object", block)
        if block["type"] == "thinking":
            need(block["signature"] != "", "a thought is signed", block)
        self._open = False

    def _message_delta(self, event: dict[str, Any]) -> None:
        need(not self._open and self.delta is None, "message_delta comes once, after the blocks", event)
        delta = event["delta"]
        need(delta["stop_reason"] in REASONS, "a known reason", delta)
        need((delta["stop_reason"] == "stop_sequence") == (delta["stop_sequence"] is not None), "which stop", delta)
        calls = any(block["type"] == "tool_use" for block in self.blocks)
        need(delta["stop_reason"] != "tool_use" or calls, "tool_use calls tools", delta)
        _usage(event["usage"])
        self.delta = event

    def _message_stop(self, event: dict[str, Any]) -> None:
        need(event == {"type": "message_stop"} and self.delta is not None, "message_stop after message_delta", event)
        self.stopped = True


def _usage(usage: dict[str, Any]) -> None:
    names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    need(all(isinstance(usage[name], int) and usage[name] >= 0 for name in names), "four counts", usage)
