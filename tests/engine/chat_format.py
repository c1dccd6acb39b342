"""The family's chat format written out by hand (facts: model.md 1.6): what checkpoints' templates are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.tokenizer import THINK_END, THINK_START, TURN_START, Tokenizer
from engine.train.messages import Role


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; content is ordinary text and never read for special tokens."""

    role: Role
    content: str


def render_chat(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
    """Ids of the prompt, ending in the assistant opening with thinking off.

    The system block is always present, empty when the conversation does not start with one.
    """
    turns = list(messages)
    if not turns or turns[0].role is not Role.SYSTEM:
        turns.insert(0, Message(Role.SYSTEM, ""))
    ids: list[int] = []
    for turn in turns:
        ids += [*_opening(tokenizer, turn), tokenizer.eos_id, *tokenizer.encode("\n")]
    return ids + _assistant_opening(tokenizer)


def _opening(tokenizer: Tokenizer, turn: Message) -> list[int]:
    if turn.role is Role.ASSISTANT:
        return _assistant_opening(tokenizer) + tokenizer.encode(_spoken(turn.content))
    return [tokenizer.id_of(TURN_START), *tokenizer.encode(f"{turn.role}\n{turn.content}")]


def _assistant_opening(tokenizer: Tokenizer) -> list[int]:
    start, think, end = (tokenizer.id_of(token) for token in (TURN_START, THINK_START, THINK_END))
    return [start, *tokenizer.encode(f"{Role.ASSISTANT}\n"), think, end]


def _spoken(content: str) -> str:
    """Past reasoning is cut from the history, as the family's template does by default."""
    return content.rsplit(THINK_END, 1)[-1] if THINK_END in content else content
