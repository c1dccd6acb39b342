"""The constraint under which an answer cannot leave its form: a schema for JSON, for calls the language of all valid ones.

A call in the family's form is not JSON, so its tools' schemas become one regular expression. Special ids match no constraint:
the opening mark is therefore put into the assistant's mouth, and the answer ends before the closing one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.request import Constraint, ConstraintKind
from engine.train.tasks.chat import Call, Mark, Parameter, Piece, Tool
from engine.train.tasks.checks import JsonCheck
from engine.train.tasks.exercise import Exercise

LONGEST: Final = 80
"""Characters of a text in a guided answer, a line of one in a call: an answer must come to its end."""

LINE: Final = rf"[ -;=-~][ -~]{{0,{LONGEST - 1}}}"
WORD: Final = r'"[ !#-\[\]-~]{1,30}"'
VALUES: Final = {
    "string": rf"{LINE}(\n({LINE})?){{0,2}}",
    "integer": "-?(0|[1-9][0-9]{0,8})",
    "boolean": "(True|False|true|false)",
    "array": rf"\[{WORD}(, {WORD}){{0,3}}\]",
}
"""How values are printed. No line of a text begins with `<`, so none can be taken for a closing tag."""


@dataclass(frozen=True, slots=True)
class Guide:
    """`opening` is said for the assistant, behind the prompt; what it says itself obeys the constraint."""

    opening: tuple[Piece, ...]
    constraint: Constraint


def guide(exercise: Exercise) -> Guide | None:
    """The guide of an exercise whose answer is a call or JSON, else None."""
    if isinstance(exercise.answer, Call):
        return Guide(("\n", Mark.CALL), Constraint(ConstraintKind.REGEX, call_language(exercise.chat.tools)))
    if isinstance(exercise.check, JsonCheck):
        return Guide((), Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(_bounded(exercise.check.schema))))
    return None


def call_language(tools: Sequence[Tool]) -> str:
    """A regular expression for one call of any of the tools, without the outer marks; parameters in their schema's order."""
    return rf"\n<function=({'|'.join(map(_call, tools))})</function>\n"


def _bounded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with an end to every text, list and number in it."""
    ends: dict[str, dict[str, Any]] = {
        "string": {"maxLength": LONGEST},
        "integer": {"minimum": -(10**9), "maximum": 10**9},
        "array": {"maxItems": 4, "items": {"type": "string", "maxLength": LONGEST}},
    }
    properties = {
        name: field | {key: value for kind, end in ends.items() if kind in field["type"] for key, value in end.items()}
        for name, field in schema["properties"].items()
    }
    return {**schema, "properties": properties}


def _call(tool: Tool) -> str:
    parameters = "".join(_parameter(parameter, parameter.name in tool.required) for parameter in tool.parameters)
    return rf"{re.escape(tool.name)}>\n{parameters}"


def _parameter(parameter: Parameter, required: bool) -> str:
    value = "|".join(map(re.escape, parameter.choices)) or VALUES[parameter.kind]
    printed = rf"<parameter={re.escape(parameter.name)}>\n({value})\n</parameter>\n"
    return printed if required else f"({printed})?"
