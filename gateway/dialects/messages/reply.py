"""Anthropic's messages, outward: one message, as a document or as the events of a stream.

message_start, then for each block content_block_start, its deltas and content_block_stop, then message_delta with the reason
and the usage, then message_stop; a ping may stand anywhere after the start. A refusal after the first byte is a message too,
whose text is the gateway's and whose reason is `refusal`: at an error event Claude Code would ask again without a stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.calls import Part
from gateway.dialects.blocks import Begun, Block, Blocks, Change, Grown, Sort
from gateway.dialects.events import event
from gateway.dialects.messages.failures import body_of
from gateway.errors import GatewayError, Withheld
from gateway.pieces import Account

PING: Final = event({"type": "ping"}) + b": the answer is still being made\n\n"
"""For clients that count events, and for those that count bytes."""
_DELTAS: Final = {
    Sort.TEXT: ("text_delta", "text"),
    Sort.THOUGHT: ("thinking_delta", "thinking"),
    Sort.CALL: ("input_json_delta", "partial_json"),
}


@dataclass(slots=True)
class MessageReply:
    """One answer; `prompt_tokens` is known from the start, everything else comes with the account."""

    generation: UUID
    model: str
    prompt_tokens: int
    blocks: Blocks = field(default_factory=Blocks)

    def opening(self) -> bytes:
        """message_start."""
        return event({"type": "message_start", "message": self._message([], None, None, self._usage(None))})

    def tell(self, part: Part) -> bytes:
        """The events of the next part."""
        return b"".join(map(self._change, self.blocks.take(part)))

    def closing(self, account: Account) -> bytes:
        """The last block's end, message_delta and message_stop."""
        ended = b"".join(map(self._change, self.blocks.end()))
        reason, stop = self._reason(account)
        return ended + _last(reason, stop, self._usage(account), account.extension())

    def refusal(self, error: Withheld) -> bytes:
        """The gateway's own words instead of an answer."""
        block = Block(len(self.blocks.whole), Sort.TEXT, error.message)
        said = map(self._change, [*self.blocks.end(), Begun(block), Grown(block, error.message)])
        stop = event({"type": "content_block_stop", "index": block.index})
        return b"".join(said) + stop + _last("refusal", None, self._usage(None), self._ours(error))

    def failure(self, error: GatewayError) -> bytes:
        """A fault after the first byte; what was told before it stands, and the client may ask again."""
        return b"event: error\ndata: %b\n\n" % body_of(error, self.generation)

    def document(self, account: Account) -> bytes:
        """The whole message of a request without `stream`, from the parts that were told."""
        self.blocks.end()
        reason, stop = self._reason(account)
        content = [self._content(block) for block in self.blocks.whole]
        body = self._message(content, reason, stop, self._usage(account))
        return msgspec.json.encode(body | {"palimpsest": account.extension()})

    def refused_document(self, error: Withheld) -> bytes:
        """The gateway's own words instead of a message, for a request without `stream`."""
        body = self._message([{"type": "text", "text": error.message}], "refusal", None, self._usage(None))
        return msgspec.json.encode(body | {"palimpsest": self._ours(error)})

    def _message(
        self, content: list[dict[str, Any]], reason: str | None, stop: str | None, usage: dict[str, int]
    ) -> dict[str, Any]:
        return {
            "id": f"msg_{self.generation.hex}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": stop,
            "usage": usage,
        }

    def _change(self, change: Change) -> bytes:
        index = change.block.index
        if isinstance(change, Begun):
            return event({"type": "content_block_start", "index": index, "content_block": self._empty(change.block)})
        if isinstance(change, Grown):
            kind, name = _DELTAS[change.block.sort]
            return _delta(index, {"type": kind, name: change.text})
        signature = _delta(index, self._signature()) if change.block.sort is Sort.THOUGHT else b""
        return signature + event({"type": "content_block_stop", "index": index})

    def _signature(self) -> dict[str, str]:
        """What stands for a thought's signature: the generation whose records hold it."""
        return {"type": "signature_delta", "signature": self.generation.hex}

    def _empty(self, block: Block) -> dict[str, Any]:
        if block.sort is Sort.CALL:
            return {"type": "tool_use", "id": block.call, "name": block.name, "input": {}}
        thought = block.sort is Sort.THOUGHT
        return {"type": "thinking", "thinking": "", "signature": ""} if thought else {"type": "text", "text": ""}

    def _content(self, block: Block) -> dict[str, Any]:
        match block.sort:
            case Sort.TEXT:
                return {"type": "text", "text": block.text}
            case Sort.THOUGHT:
                return {"type": "thinking", "thinking": block.text, "signature": self.generation.hex}
            case Sort.CALL:
                return self._empty(block) | {"input": msgspec.Raw(block.text.encode() or b"{}")}

    def _ours(self, error: Withheld) -> dict[str, Any]:
        return {"generation_id": str(self.generation), "code": error.code} | error.extension()

    def _reason(self, account: Account) -> tuple[str, str | None]:
        if account.reason == "length":
            return "max_tokens", None
        if self.blocks.calls:
            return "tool_use", None
        return ("end_turn", None) if account.stop is None else ("stop_sequence", account.stop)

    def _usage(self, account: Account | None) -> dict[str, int]:
        """Anthropic's counts: what came from the cache is not counted as input a second time."""
        cached = 0 if account is None else account.cached_tokens
        return {
            "input_tokens": self.prompt_tokens - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": 0 if account is None else account.completion_tokens,
        }


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return event({"type": "content_block_delta", "index": index, "delta": delta})


def _last(reason: str, stop: str | None, usage: dict[str, int], extension: dict[str, Any]) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": stop}
    told = event({"type": "message_delta", "delta": delta, "usage": usage, "palimpsest": extension})
    return told + event({"type": "message_stop"})
