"""The response object and its output items, as JSON documents; ids are made from the generation's, so they never change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from gateway.dialects.blocks import Block, Sort
from gateway.dialects.openai_logprobs import token_logprobs
from gateway.dialects.request import Conversation, PlainPrompt
from gateway.dialects.responses.wire import Body
from gateway.errors import Deferred, GatewayError, Overloaded, Withheld
from gateway.pieces import Account

_PREFIX: Final = {Sort.TEXT: "msg", Sort.THOUGHT: "rs", Sort.CALL: "fc"}


class Status(StrEnum):
    """The states of a response in this dialect's words."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"


def response_id(generation: UUID) -> str:
    """The id under which a client asks for a response again."""
    return f"resp_{generation.hex}"


def generation_of(response: str) -> UUID | None:
    """The generation that a response id names; None for what is no response id."""
    prefix, _, digits = response.partition("_")
    try:
        return UUID(hex=digits) if prefix == "resp" and len(digits) == 32 else None
    except ValueError:
        return None


def generation_of_item(item: str) -> UUID | None:
    """The generation whose answer an item's id stands in; None for what is no such id."""
    prefix, _, digits = item.partition("_")
    return generation_of(f"resp_{digits[:32]}") if prefix in _PREFIX.values() else None


@dataclass(frozen=True, slots=True)
class Head:
    """What every telling of one response repeats: its ids and what was asked for."""

    generation: UUID
    mode: str
    policy_digest: str
    body: Body
    constrained: bool = False
    """Whether the answer is held to a schema or to a grammar."""
    prompt: Conversation | PlainPrompt = field(default_factory=lambda: Conversation(()))
    """What the model was asked, earlier responses included; it decides how the answer is read."""

    @property
    def id(self) -> str:
        """The response's id."""
        return response_id(self.generation)

    def response(self, status: Status, output: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """The response object; `more` are the fields that its end decides."""
        body = self.body
        document: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": (self.generation.int >> 80) // 1000,
            "status": status.value,
            "background": bool(body.background),
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": body.model,
            "output": output,
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id,
            "reasoning": body.reasoning or {"effort": None, "summary": None},
            "store": body.stored,
            "temperature": 1.0 if body.temperature is None else body.temperature,
            "text": {"format": (body.text and body.text.format) or {"type": "text"}},
            "tool_choice": body.tool_choice or "auto",
            "top_logprobs": body.top_logprobs or 0,
            "tools": [tool for tool in body.tools or () if tool.type == "function"],
            "top_p": 1.0 if body.top_p is None else body.top_p,
            "truncation": "disabled",
            "usage": None,
            "metadata": body.metadata or {},
            "palimpsest": self.own(),
        }
        return document | more

    def own(self) -> dict[str, Any]:
        """The `palimpsest` object as far as it is known from the start."""
        return {"generation_id": str(self.generation), "mode": self.mode, "policy": self.policy_digest}

    def waiting(self, error: Deferred) -> dict[str, Any]:
        """The response object of an answer that people have not decided about: where they do, and under which id."""
        approval = {"approval_id": str(error.approval), "approval_url": error.url}
        return self.response(Status.QUEUED, [], metadata=(self.body.metadata or {}) | approval)

    def item(self, block: Block, status: Status) -> dict[str, Any]:
        """One output item as far as it has come."""
        head = {"id": self.item_id(block), "status": status.value}
        match block.sort:
            case Sort.TEXT:
                content = [output_text(block.text, self.logprobs(block))] if block.text else []
                return head | {"type": "message", "role": "assistant", "content": content}
            case Sort.THOUGHT:
                content = [reasoning_text(block.text)] if block.text else []
                return head | {"type": "reasoning", "summary": [], "content": content}
            case Sort.CALL:
                call = {"call_id": block.call, "name": block.name, "arguments": block.text}
                return head | {"type": "function_call"} | call

    def logprobs(self, block: Block) -> list[dict[str, Any]]:
        """The log-probabilities of a text, where they were asked for."""
        return token_logprobs(block.scores) if self.body.scored else []

    def item_id(self, block: Block) -> str:
        """The id of an output item."""
        return f"{_PREFIX[block.sort]}_{self.generation.hex}{block.index:04x}"


def output_text(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    """The part that holds an answer's text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def reasoning_text(text: str) -> dict[str, Any]:
    """The part that holds a thought."""
    return {"type": "reasoning_text", "text": text}


def usage(account: Account, blocks: Iterable[Block]) -> dict[str, Any]:
    """This dialect's counts; `blocks` are those of the answer, whose thoughts are counted."""
    thought = sum(len(block.scores) for block in blocks if block.sort is Sort.THOUGHT)
    return {
        "input_tokens": account.prompt_tokens,
        "input_tokens_details": {"cached_tokens": account.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": account.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": account.prompt_tokens + account.completion_tokens,
    }


def error_of(error: GatewayError) -> dict[str, str]:
    """What a failed response says. `invalid_prompt` is the code at which Codex does not ask again."""
    if isinstance(error, Withheld):
        return {"code": "invalid_prompt", "message": error.message}
    code = "rate_limit_exceeded" if isinstance(error, Overloaded) else "server_error"
    return {"code": code, "message": error.message}
