"""OpenAI's responses, outward: one response as numbered events, and as the document that the last of them carries.

An answer has the same events with the same numbers whenever and from whatever it is told (`words.py`), so a reader may come
back and ask for those after a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.calls import Part
from gateway.dialects.blocks import Begun, Block, Blocks, Change, Grown, Sort
from gateway.dialects.events import event
from gateway.dialects.responses.document import Head, Status, error_of, output_text, reasoning_text, usage
from gateway.dialects.responses.words import Words
from gateway.errors import GatewayError, Withheld
from gateway.pieces import Account

_PARTS: Final = {Sort.TEXT: ("output_text", output_text), Sort.THOUGHT: ("reasoning_text", reasoning_text)}
_CALLED: Final = "function_call_arguments"


@dataclass(frozen=True, slots=True)
class Told:
    """One event as bytes, and its number."""

    number: int
    data: bytes


class Narrator:
    """Tells one response from its parts."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._blocks = Blocks()
        self._words = Words()
        self._output: list[dict[str, Any]] = []
        self._next = 0
        self.response: dict[str, Any] = {}
        """The response object of the terminal event, once that has been told."""

    def opening(self) -> list[Told]:
        """response.created, for one in the background response.queued, and response.in_progress."""
        first = Status.QUEUED if self.head.body.background else Status.IN_PROGRESS
        told = [self._state("created", first)]
        if self.head.body.background:
            told.append(self._state("queued", first))
        return [*told, self._state("in_progress", Status.IN_PROGRESS)]

    def tell(self, part: Part) -> list[Told]:
        """The events of the next part."""
        return [told for change in self._blocks.take(part) for told in self._change(change, Status.COMPLETED)]

    def closing(self, account: Account) -> list[Told]:
        """The last item's end and the terminal event of an answer."""
        cut = account.reason == "length"
        status = Status.INCOMPLETE if cut else Status.COMPLETED
        more: dict[str, Any] = {"usage": usage(account), "palimpsest": account.extension()}
        if cut:
            more["incomplete_details"] = {"reason": "max_output_tokens"}
        return self._end(status, status, more)

    def failing(self, error: GatewayError) -> list[Told]:
        """The terminal event of a response that was refused or broke."""
        more: dict[str, Any] = {"error": error_of(error)}
        if isinstance(error, Withheld):
            more["palimpsest"] = self.head.own() | error.extension()
        return self._end(Status.FAILED, Status.FAILED, more)

    def cancelling(self) -> list[Told]:
        """The terminal event of a response that its client ended."""
        return self._end(Status.INCOMPLETE, Status.CANCELLED, {})

    def beat(self) -> bytes:
        """A data event that says nothing new; its number is that of the last event, so that nobody comes back before it."""
        response = self.head.response(Status.IN_PROGRESS, [])
        return event({"type": "response.in_progress", "sequence_number": max(self._next - 1, 0), "response": response})

    def _state(self, kind: str, status: Status) -> Told:
        return self._event(f"response.{kind}", response=self.head.response(status, []))

    def _end(self, kind: Status, status: Status, more: dict[str, Any]) -> list[Told]:
        last = Status.COMPLETED if status is Status.COMPLETED else Status.INCOMPLETE
        told = [told for change in self._blocks.end() for told in self._change(change, last)]
        self.response = self.head.response(status, self._output, **more)
        return [*told, self._event(f"response.{kind}", response=self.response)]

    def _change(self, change: Change, status: Status) -> list[Told]:
        block = change.block
        if isinstance(change, Begun):
            return self._begun(block)
        if isinstance(change, Grown):
            return [self._delta(block, piece) for piece in self._words.feed(change.text)]
        return [*(self._delta(block, piece) for piece in self._words.rest()), *self._done(block, status)]

    def _begun(self, block: Block) -> list[Told]:
        item = self.head.item(block, Status.IN_PROGRESS)
        added = self._event("response.output_item.added", output_index=block.index, item=item)
        if block.sort is Sort.CALL:
            return [added]
        _, part = _PARTS[block.sort]
        return [added, self._of(block, "response.content_part.added", content_index=0, part=part(""))]

    def _delta(self, block: Block, piece: str) -> Told:
        match block.sort:
            case Sort.TEXT:
                return self._of(block, "response.output_text.delta", content_index=0, delta=piece, logprobs=[])
            case Sort.THOUGHT:
                return self._of(block, "response.reasoning_text.delta", content_index=0, delta=piece)
            case Sort.CALL:
                return self._of(block, f"response.{_CALLED}.delta", delta=piece)

    def _done(self, block: Block, status: Status) -> list[Told]:
        item = self.head.item(block, status)
        self._output.append(item)
        told = self._content_done(block)
        return [*told, self._event("response.output_item.done", output_index=block.index, item=item)]

    def _content_done(self, block: Block) -> list[Told]:
        if block.sort is Sort.CALL:
            return [self._of(block, f"response.{_CALLED}.done", name=block.name, arguments=block.text)]
        name, part = _PARTS[block.sort]
        more: dict[str, Any] = {"logprobs": []} if block.sort is Sort.TEXT else {}
        text = self._of(block, f"response.{name}.done", content_index=0, text=block.text, **more)
        return [text, self._of(block, "response.content_part.done", content_index=0, part=part(block.text))]

    def _of(self, block: Block, kind: str, **fields: Any) -> Told:
        return self._event(kind, item_id=self.head.item_id(block), output_index=block.index, **fields)

    def _event(self, kind: str, **fields: Any) -> Told:
        number, self._next = self._next, self._next + 1
        return Told(number, event({"type": kind, "sequence_number": number, **fields}))
