"""One exercise: a conversation, its one right answer, and a check that knows right from wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.train.tasks.chat import Chat, Reply
from engine.train.tasks.checks import Check


class Kind(StrEnum):
    """What is asked for."""

    FUNCTION = "function"
    TOOL = "tool"
    TURNS = "turns"
    EDIT = "edit"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Exercise:
    """`answer` is the right reply in the one style of this corpus; `check` also passes others that are right."""

    kind: Kind
    chat: Chat
    answer: Reply
    check: Check
