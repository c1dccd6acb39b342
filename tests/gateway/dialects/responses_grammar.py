"""The grammar of a stream of /v1/responses, read strictly: numbers, indexes, ids and sums must agree."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from tests.gateway.dialects.sse import Events, need

TERMINAL: Final = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
PARTS: Final = {"message": "output_text", "reasoning": "reasoning_text"}


@dataclass
class ResponseReader:
    """A strict client; `after` is the number that it has read up to on an earlier connection."""

    after: int = -1
    events: list[dict[str, Any]] = field(default_factory=list)
    beats: int = 0
    response: dict[str, Any] | None = None
    items: list[dict[str, Any]] = field(default_factory=list)
    _item: dict[str, Any] | None = None
    _part: dict[str, Any] | None = None
    _told: str = ""
    _events: Events = field(default_factory=Events)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        for event in self._events.feed(data):
            self._take(event)

    def finish(self) -> None:
        """The connection has ended and so must the response have."""
        need(self._events.at_rest and self.response is not None, "the stream ends with a terminal event", self.events[-1:])

    @property
    def text(self) -> str:
        """All output text."""
        parts = [part for item in self.items if item["type"] == "message" for part in item["content"]]
        return "".join(part["text"] for part in parts)

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self.after + len(self.events)

    def _take(self, event: dict[str, Any]) -> None:
        need(self.response is None, "nothing follows the terminal event", event)
        kind, number = event["type"], event["sequence_number"]
        if kind == "response.in_progress" and number == self.last and self.last > 0:
            self.beats += 1
            return
        need(number == self.last + 1, "numbers have no gap", event, self.last)
        self.events.append(event)
        if self.after >= 0:
            if kind in TERMINAL:
                self.response = event["response"]
            return
        if number < 2:
            self._opening(number, event)
        elif kind in TERMINAL:
            self._end(event)
        elif kind != "response.in_progress":
            getattr(self, "_" + kind.removeprefix("response.").replace(".", "_"))(event)

    def _opening(self, number: int, event: dict[str, Any]) -> None:
        expected = ("response.created",) if number == 0 else ("response.in_progress", "response.queued")
        need(event["type"] in expected, "created, then queued or in progress", event)
        response = event["response"]
        need(response["object"] == "response" and response["output"] == [], "an empty response", response)
        need(response["id"].startswith("resp_"), "ids tell what they name", response)

    def _output_item_added(self, event: dict[str, Any]) -> None:
        need(self._item is None and event["output_index"] == len(self.items), "one item at a time, in order", event)
        item = event["item"]
        need(item["status"] == "in_progress" and not item.get("content") and not item.get("arguments"), "empty", item)
        self._item, self._told = item, ""

    def _content_part_added(self, event: dict[str, Any]) -> None:
        item = self._place(event)
        need(event["content_index"] == 0 and event["part"]["type"] == PARTS[item["type"]], "the item's part", event)
        need(event["part"]["text"] == "", "a part begins empty", event)
        self._part = event["part"]

    def _grow(self, event: dict[str, Any]) -> None:
        self._place(event)
        need(event["delta"] != "", "a delta says something", event)
        self._told += event["delta"]

    def _output_text_delta(self, event: dict[str, Any]) -> None:
        need(self._part is not None and self._part["type"] == "output_text", "text grows in its part", event)
        need(event["logprobs"] == [] and event["content_index"] == 0, "the fields of a text delta", event)
        self._grow(event)

    def _reasoning_text_delta(self, event: dict[str, Any]) -> None:
        need(self._part is not None and self._part["type"] == "reasoning_text", "a thought grows in its part", event)
        self._grow(event)

    def _function_call_arguments_delta(self, event: dict[str, Any]) -> None:
        need(self._place(event)["type"] == "function_call", "arguments grow in a call", event)
        self._grow(event)

    def _output_text_done(self, event: dict[str, Any]) -> None:
        self._place(event)
        need(event["text"] == self._told, "the deltas add up", event, self._told)

    _reasoning_text_done = _output_text_done

    def _function_call_arguments_done(self, event: dict[str, Any]) -> None:
        need(event["arguments"] == self._told and event["name"] == self._place(event)["name"], "the deltas add up", event)
        need(isinstance(json.loads(event["arguments"]), dict), "arguments are an object", event)

    def _content_part_done(self, event: dict[str, Any]) -> None:
        self._place(event)
        need(self._part is not None and event["part"]["text"] == self._told, "the part is what was told", event)
        self._part = None

    def _output_item_done(self, event: dict[str, Any]) -> None:
        opened = self._item
        need(opened is not None and self._part is None, "an open item whose part is closed", event)
        item = event["item"]
        need(opened is not None and item["id"] == opened["id"] and item["type"] == opened["type"], "the same item", event)
        whole = item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
        need(whole == self._told and event["output_index"] == len(self.items), "the item is what was told", event)
        self.items.append(item)
        self._item = None

    def _end(self, event: dict[str, Any]) -> None:
        response = event["response"]
        need(self._item is None, "no item is left open", event)
        need(response["status"] in (TERMINAL[event["type"]], "cancelled"), "the status of its event", response)
        need(response["output"] == self.items, "the response holds its items", response, self.items)
        need((response["error"] is not None) == (response["status"] == "failed"), "failures have an error", response)
        if response["status"] == "completed":
            usage = response["usage"]
            need(usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"], "usage adds up", usage)
        self.response = response

    def _place(self, event: dict[str, Any]) -> dict[str, Any]:
        item = self._item
        if item is None:
            raise AssertionError(f"no item is open: {event}")
        need(event["item_id"] == item["id"] and event["output_index"] == len(self.items), "the open item", event)
        return item
