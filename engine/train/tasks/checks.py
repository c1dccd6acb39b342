"""How each kind of answer is judged. A check reads a reply as hostile text and never raises for a bad one.

Every check tells three things apart: the right answer (PASSED), one of the right form (WRONG, and for code RAISED and TIMEOUT),
and one that its reader could not have used (NO_CODE, UNREADABLE, INVALID).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from engine.train.execution import Outcome, Verdict, judge_code
from engine.train.grammar import Case
from engine.train.tasks.chat import Call, Mark, Tool, read_call
from engine.train.tasks.schema import problem, same, typed

USABLE: Final = frozenset({Outcome.PASSED, Outcome.WRONG, Outcome.RAISED, Outcome.TIMEOUT})
"""Outcomes of answers in the right form."""

PASSED: Final = Verdict(Outcome.PASSED)


class Check(Protocol):
    """Knows the right answer to one prompt."""

    def judge(self, reply: str) -> Verdict:
        """`reply` is the text of an answer with the marks of calls written out, as `chat.heard` gives it."""


@dataclass(frozen=True, slots=True)
class CodeCheck:
    """A function that must pass hidden cases."""

    function: str
    cases: tuple[Case, ...]

    def judge(self, reply: str) -> Verdict:
        """Runs the code in a locked process. Raises JailUnavailable where there is none."""
        return judge_code(reply, self.function, self.cases)


@dataclass(frozen=True, slots=True)
class CallCheck:
    """One call of one of the tools, equal to `call`."""

    tools: tuple[Tool, ...]
    call: Call

    def judge(self, reply: str) -> Verdict:
        """INVALID for an unknown tool or arguments outside its schema."""
        found = read_call(reply)
        if found is None:
            return Verdict(Outcome.UNREADABLE, "the answer is not one call")
        name, printed = found
        tool = next((tool for tool in self.tools if tool.name == name), None)
        if tool is None:
            return Verdict(Outcome.INVALID, f"there is no tool {name!r:.80}")
        schema = tool.schema()
        arguments = {key: typed(schema["properties"].get(key, {}), text) for key, text in printed.items()}
        if broken := problem(schema, arguments, name):
            return Verdict(Outcome.INVALID, broken[:500])
        if name != self.call.name:
            return Verdict(Outcome.WRONG, f"it calls {name}, not {self.call.name}")
        if not same(arguments, dict(self.call.arguments)):
            return Verdict(Outcome.WRONG, f"its arguments are {arguments!s:.200}, not {dict(self.call.arguments)}")
        return PASSED


@dataclass(frozen=True, slots=True)
class TextCheck:
    """A short sentence; case, the space between words and the last full stop do not matter."""

    text: str

    def judge(self, reply: str) -> Verdict:
        """UNREADABLE for a call where a sentence was due."""
        if Mark.CALL in reply or not reply.strip():
            return Verdict(Outcome.UNREADABLE, "the answer is no sentence")
        if _plain(reply) != _plain(self.text):
            return Verdict(Outcome.WRONG, f"it says {reply!r:.200}, not {self.text!r}")
        return PASSED


@dataclass(frozen=True, slots=True)
class JsonCheck:
    """A JSON object that fits the schema and equals `value`; keys may come in any order, but once."""

    schema: Mapping[str, Any]
    value: Mapping[str, Any]

    def judge(self, reply: str) -> Verdict:
        """INVALID for JSON outside the schema."""
        try:
            found = json.loads(reply, object_pairs_hook=_object)
        except (ValueError, RecursionError):
            return Verdict(Outcome.UNREADABLE, "the answer is not JSON")
        if broken := problem(self.schema, found):
            return Verdict(Outcome.INVALID, broken[:500])
        if not same(found, self.value):
            return Verdict(Outcome.WRONG, f"it is {json.dumps(found):.200}, not {json.dumps(self.value)}")
        return PASSED


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().removesuffix(".")
