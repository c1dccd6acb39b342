"""Conversations with tools, in the family's form: what is said, which ids say it, and how a reply is read back.

The form (facts: model.md 1.6): tools stand in the system block as XML; a call is `<tool_call>`, `<function=NAME>`, for each
argument `<parameter=KEY>`, its value and `</parameter>`, then `</function>` and `</tool_call>`, all on lines of their own; a
result goes as `<tool_response>` in a user's turn, several in a row sharing one. `chat_template.jinja` here writes the same.

Promise: marks become special ids only where the form puts them. The same strings inside of what someone said are plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any, Final, TypeAlias

from engine.tokenizer import Tokenizer
from engine.train.tasks.schema import closed

Value: TypeAlias = "str | int | bool | list[str] | None"


class Mark(StrEnum):
    """The special tokens of the form."""

    START = "<|im_start|>"
    END = "<|im_end|>"
    THINK = "<think>"
    THOUGHT = "</think>"
    CALL = "<tool_call>"
    CALLED = "</tool_call>"
    RESULT = "<tool_response>"
    GIVEN = "</tool_response>"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool; `kind` is a type of JSON schema, `choices` the only values of a string if there are any."""

    name: str
    kind: str
    choices: tuple[str, ...] = ()
    description: str = ""

    def schema(self) -> dict[str, Any]:
        """As JSON schema, keys in the order in which the family prints them."""
        told: dict[str, Any] = {"type": self.kind}
        if self.kind == "array":
            told["items"] = {"type": "string"}
        if self.description:
            told["description"] = self.description
        return told | ({"enum": list(self.choices)} if self.choices else {})


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that may be called; parameters not in `required` may be left out."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    required: tuple[str, ...]

    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        properties = {parameter.name: parameter.schema() for parameter in self.parameters}
        return closed(properties, self.required)

    def document(self) -> dict[str, Any]:
        """As clients send it to a chat endpoint, without `additionalProperties`, which most leave out."""
        schema = {key: value for key, value in self.schema().items() if key != "additionalProperties"}
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": schema},
        }


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool, arguments in the order of its schema."""

    name: str
    arguments: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class User:
    """What the user says."""

    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a call gave."""

    text: str


Reply: TypeAlias = "str | Call"
Turn: TypeAlias = "User | Result | str | Call"
"""A turn; those of the assistant are plain text or a call."""

Piece: TypeAlias = "str | Mark"


@dataclass(frozen=True, slots=True)
class Chat:
    """What stands before an answer."""

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    system: str = ""

    def messages(self) -> list[dict[str, Any]]:
        """As clients send it to a chat endpoint, with arguments as objects; a system message only if it says something."""
        told: list[dict[str, Any]] = [{"role": "system", "content": self.system}] if self.system else []
        return told + [_message(turn) for turn in self.turns]


def prompt(chat: Chat) -> Iterator[Piece]:
    """Text and marks of the conversation, up to where the assistant answers with thinking off."""
    yield from (Mark.START, f"system\n{_system(chat)}", Mark.END, "\n")
    for results, turns in groupby(chat.turns, lambda turn: isinstance(turn, Result)):
        if results:
            yield Mark.START
            yield "user\n"
            for turn in turns:
                yield from _result(turn)
            yield from (Mark.END, "\n")
        else:
            for turn in turns:
                yield from _turn(turn)
    yield from (Mark.START, "assistant\n", Mark.THINK, Mark.THOUGHT)


def spoken(reply: Reply) -> Iterator[Piece]:
    """Text and marks of the assistant's answer, its end mark excluded."""
    if isinstance(reply, str):
        yield reply
        return
    arguments = "".join(f"<parameter={key}>\n{written(value)}\n</parameter>\n" for key, value in reply.arguments.items())
    yield from ("\n", Mark.CALL, f"\n<function={reply.name}>\n{arguments}</function>\n", Mark.CALLED, "\n")


def ids(tokenizer: Tokenizer, pieces: Iterable[Piece]) -> list[int]:
    """Token ids; neighbouring texts are encoded as one, as they would be in the printed template."""
    found: list[int] = []
    for marks, group in groupby(pieces, lambda piece: isinstance(piece, Mark)):
        together = list(group)
        found += map(tokenizer.id_of, together) if marks else tokenizer.encode("".join(together))
    return found


def heard(tokenizer: Tokenizer, answer: Sequence[int]) -> str:
    """The text of an answer with the marks of calls written out; all other special ids say nothing."""
    marks = {tokenizer.id_of(mark): mark.value for mark in (Mark.CALL, Mark.CALLED)}
    groups = groupby(answer, marks.get)
    return "".join(mark * len(list(group)) if mark else tokenizer.decode(group) for mark, group in groups)


def written(value: Value) -> str:
    """An argument as the family's template prints it: lists as JSON, all else as Python's `str` does."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


_CALL: Final = re.compile(
    r"\s*(?:<tool_call>)?\s*<function=([^>\n]{1,256})>\n(.*?)</function>\s*(?:</tool_call>)?\s*", re.DOTALL
)
_ARGUMENT: Final = re.compile(r"<parameter=([^>\n]{1,256})>\n(.*?)\n</parameter>\n", re.DOTALL)


def read_call(text: str) -> tuple[str, dict[str, str]] | None:
    """Name and printed arguments of the one call that `text` is, or None; the outer marks may be missing."""
    found = _CALL.fullmatch(text)
    if found is None:
        return None
    arguments: dict[str, str] = {}
    rest = found.group(2)
    while argument := _ARGUMENT.match(rest):
        if argument.group(1) in arguments:
            return None
        arguments[argument.group(1)] = argument.group(2)
        rest = rest[argument.end() :]
    return None if rest else (found.group(1), arguments)


def _turn(turn: Turn) -> Iterator[Piece]:
    if isinstance(turn, User):
        yield from (Mark.START, f"user\n{turn.text}", Mark.END, "\n")
    elif not isinstance(turn, Result):
        yield from (Mark.START, "assistant\n", Mark.THINK, Mark.THOUGHT, *spoken(turn), Mark.END, "\n")


def _result(turn: Turn) -> Iterator[Piece]:
    if isinstance(turn, Result):
        yield from (Mark.RESULT, f"\n{turn.text}\n", Mark.GIVEN, "\n")


def _message(turn: Turn) -> dict[str, Any]:
    match turn:
        case User(text):
            return {"role": "user", "content": text}
        case Result(text):
            return {"role": "tool", "content": text}
        case Call(name, arguments):
            call = {"type": "function", "function": {"name": name, "arguments": dict(arguments)}}
            return {"role": "assistant", "content": "", "tool_calls": [call]}
    return {"role": "assistant", "content": turn}


def _system(chat: Chat) -> str:
    if not chat.tools:
        return chat.system
    tools = "\n".join(map(_declared, chat.tools))
    return f"{chat.system}{chat.system and PARAGRAPH}# Tools\n\nThese functions may be called:\n\n<tools>\n{tools}\n</tools>"


PARAGRAPH: Final = "\n\n"


def _declared(tool: Tool) -> str:
    lines = ["<function>", f"<name>{tool.name}</name>"]
    if tool.description:
        lines.append(f"<description>{tool.description}</description>")
    lines.append("<parameters>")
    for parameter in tool.parameters:
        lines += ["<parameter>", f"<name>{parameter.name}</name>"]
        for key, value in parameter.schema().items():
            lines.append(f"<{key}>{value if isinstance(value, str) else json.dumps(value)}</{key}>")
        lines.append("</parameter>")
    lines += [f"<required>{json.dumps(list(tool.required))}</required>", "</parameters>", "</function>"]
    return "\n".join(lines)
