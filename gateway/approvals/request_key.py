"""By what a request that is asked again is known: an HMAC of what it means, whatever dialect says it and however it is sent.

What does not change the answer is left out: how it is to be delivered, metadata, headers, ids of past calls, log-probabilities,
proofs. Keyed, for the table that keeps it is no place for a plain hash of somebody's words.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from audit.durable import locked, make_folder, own_secret
from engine.request import Constraint
from gateway.dialects.request import (
    AssistantTurn,
    CallOf,
    ChatRequest,
    Conversation,
    PlainPrompt,
    SystemTurn,
    ToolSpec,
    ToolTurn,
    Turn,
    UserTurn,
)
from gateway.registry import Subject

KEY_FILE: Final = "requests.key"
_EXACT: Final = b"palimpsest/request/1\0"
_TURN: Final = b"palimpsest/turn/1\0"


@dataclass(frozen=True, slots=True)
class Asked:
    """The keys of one request: of all that it means and, where its client names the session, of its turn there."""

    exact: bytes
    turn: bytes | None = None

    @property
    def all(self) -> tuple[bytes, ...]:
        """Every key, in the one order in which all processes take them."""
        return (self.exact,) if self.turn is None else tuple(sorted((self.exact, self.turn)))


class RequestKeys:
    """Makes keys under a secret that this installation's processes share."""

    def __init__(self, folder: Path) -> None:
        """`folder` is that of the installation's keys. Raises KeyUnavailable for a damaged secret."""
        make_folder(folder)
        with locked(folder):
            self._secret = own_secret(folder / KEY_FILE)

    def of(self, subject: Subject, chat: ChatRequest, session: str | None = None) -> Asked:
        """The keys of a request of this caller; `session` is what its client calls the session, if it does."""
        whose = [subject.tenant, subject.caller]
        exact = self._key(_EXACT, [whose, meaning(chat)])
        if session is None or not isinstance(chat.prompt, Conversation):
            return Asked(exact)
        return Asked(exact, self._key(_TURN, [whose, session, _turn_of(chat, chat.prompt)]))

    def _key(self, label: bytes, told: Any) -> bytes:
        return hmac.digest(self._secret, label + _written(told), hashlib.sha256)


def meaning(chat: ChatRequest) -> list[Any]:
    """What decides the answer, as JSON has it: equal for requests that mean the same, in whatever dialect."""
    knob = asdict(chat.knob)
    if chat.knob.think_budget is None:  # then it is the key that it was before there were budgets
        del knob["think_budget"]
    sampling = {name: float(value) for name, value in asdict(chat.sampling).items()}
    limits = [chat.seed, chat.index, chat.max_tokens, list(chat.stop)]
    return [chat.model, _prompt(chat.prompt), knob, sampling, limits, _constraint(chat.constraint)]


def _prompt(prompt: Conversation | PlainPrompt) -> Any:
    if isinstance(prompt, PlainPrompt):
        return ["plain", prompt.content]
    offered = [_tool(tool) for tool in prompt.callable]
    called = [prompt.choice.name] if isinstance(prompt.choice, CallOf) else prompt.choice.value
    tools = [offered, called, prompt.parallel] if offered else []
    return ["turns", list(_turns(prompt.turns)), tools, prompt.thinking]


def _turns(turns: Sequence[Turn]) -> Iterator[Any]:
    """Each turn; ids of calls are the client's own, so they count by their order."""
    calls: dict[str, int] = {}
    for turn in turns:
        match turn:
            case SystemTurn(text):
                yield ["system", text]
            case UserTurn(text):
                yield ["user", text]
            case ToolTurn(call, text):
                yield ["tool", calls.setdefault(call, len(calls)), text]
            case AssistantTurn(text, reasoning, made):
                told = [[calls.setdefault(call.id, len(calls)), call.name, json.loads(call.arguments)] for call in made]
                yield ["assistant", text, reasoning, told]


def _tool(tool: ToolSpec) -> Mapping[str, Any]:
    return {"name": tool.name, "description": tool.description, "schema": tool.schema, "strict": tool.strict}


def _constraint(constraint: Constraint | None) -> Any:
    """A schema by what it says, not by how it is spaced."""
    if constraint is None:
        return None
    try:
        source = json.loads(constraint.source)
    except (ValueError, RecursionError):
        source = constraint.source
    return [constraint.kind.value, source]


def _turn_of(chat: ChatRequest, prompt: Conversation) -> list[Any]:
    """Where in its session a request stands: after how many answers, and what was said since the last one.

    Claude Code asks one question again with other tools and another system prompt. Its small questions beside the conversation,
    such as for a title, are told apart by having no tools, or a form. An answer that would be read otherwise, with thoughts
    or as one call, is another one; the tools that it is read with are those of the first (`http/sources.py`).
    """
    answers = [place for place, turn in enumerate(prompt.turns) if isinstance(turn, AssistantTurn)]
    since = prompt.turns[answers[-1] if answers else 0 :]
    said = [turn for turn in _turns(since) if turn[0] in ("user", "tool")]
    read = [bool(prompt.callable), prompt.parallel, prompt.thinking]
    return [chat.model, len(answers), said, read, _constraint(chat.constraint)]


def _written(told: Any) -> bytes:
    """One spelling for equal values, for words that are no UTF-8 too."""
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
