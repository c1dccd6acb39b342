"""A choice of tools is held by a grammar of the checkpoint's own form of calls, and what it lets through reads as that call."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from engine.chat_template import CallForm
from engine.constrain import Constrainer
from engine.request import Constraint
from gateway.call_grammar import call_grammar
from gateway.calls import AnswerReader, calls_of
from gateway.dialects.request import Calling, CallOf, Conversation, ToolChoice, ToolSpec
from tests.gateway.housed import tiny

EDIT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "description": "Where."},
        "line": {"$ref": "#/$defs/line"},
        "how": {"enum": ["add", "<[1]>"]},
    },
    "required": ["path"],
    "additionalProperties": False,
    "$defs": {"line": {"type": "integer", "minimum": 1, "maximum": 9}},
}
EDIT = ToolSpec("edit", "", EDIT_SCHEMA, strict=True)
LOOSE = ToolSpec("edit", "", EDIT_SCHEMA | {"not": {"type": "string"}})
LOOK = ToolSpec("look", "", {})
TOKENIZER = tiny().tokenizer
CONSTRAINER = Constrainer(TOKENIZER, TOKENIZER.size, TOKENIZER.eos_id)


def xml(name: str, *pairs: tuple[str, str]) -> str:
    """A call in the family's form."""
    told = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in pairs)
    return f"<tool_call>\n<function={name}>\n{told}</function>\n</tool_call>"


def written(name: str, **arguments: object) -> str:
    """A call in the JSON form."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def held(choice: ToolChoice, *tools: ToolSpec, form: CallForm = CallForm.XML, parallel: bool = True) -> Constraint:
    """The grammar of a choice."""
    prompt = Conversation((), tools, choice, parallel)
    assert prompt.binding
    return call_grammar(prompt, form)


def fits(constraint: Constraint, text: str) -> bool:
    """Whether an answer may be this text, its marks of calls as the ids that the family has for them."""
    matcher = CONSTRAINER.matcher(constraint)
    for piece in re.split("(</?tool_call>)", text):
        ids = [TOKENIZER.id_of(piece)] if piece in ("<tool_call>", "</tool_call>") else TOKENIZER.encode(piece)
        for token in ids:
            if not matcher.allowed()[token]:
                return False
            matcher.accept([token])
    return bool(matcher.allowed()[TOKENIZER.eos_id])


GOOD = (
    xml("edit", ("path", "a")),
    xml("edit", ("path", "def f():\n  <x>"), ("line", "3")),
    xml("edit", ("path", ""), ("line", "9"), ("how", "<[1]>")),
)
BAD = (
    "hello",
    xml("look"),
    xml("edit"),
    xml("edit", ("line", "3")),
    xml("edit", ("path", "a"), ("line", "10")),
    xml("edit", ("path", "a"), ("how", "del")),
    xml("edit", ("path", "a"), ("other", "x")),
    xml("edit", ("path", "a")) + "hello",
)


def test_a_named_strict_tool_is_held_to_its_schema() -> None:
    """The one call is of that tool, its required arguments in order, of their types, ranges and choices, and nothing else."""
    constraint = held(CallOf("edit"), LOOK, EDIT)
    assert all(fits(constraint, text) and fits(constraint, f"\n{text}") for text in GOOD)
    assert not any(fits(constraint, text) for text in (*BAD, GOOD[0] + "\n" + GOOD[0]))


UNIT = {"$defs": {"unit": {"type": "string", "enum": ["far", "cel"]}}}
CHOSEN: list[tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ({"$ref": "#/$defs/unit"}, ("far", "cel"), ("fa", "farce", "kel", "null")),
    ({"allOf": [{"$ref": "#/$defs/unit"}], "default": "cel"}, ("far", "cel"), ("kel",)),
    ({"const": "cel", "type": "string"}, ("cel",), ("far", '"cel"')),
    ({"anyOf": [{"$ref": "#/$defs/unit"}, {"type": "null"}]}, ("far", "null"), ("kel", "")),
    ({"oneOf": [{"const": "far"}, {"type": "integer", "maximum": 9}]}, ("far", "7"), ("10", "kel")),
    ({"anyOf": [{"$ref": "#/$defs/unit"}, {"type": "string"}]}, ("far", "kel"), ()),
    ({"anyOf": [{"$ref": "#"}, {"type": "string"}]}, ("far",), ()),
    ({"$ref": "#/properties/unit"}, ("far",), ()),
]
WORDS: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "maxItems": 2}
MIXED: list[tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ({"anyOf": [{"type": "string"}, WORDS]}, ("a [1]", "", "{}", '["a"]'), ("[1]", ' ["a", "b", "c"]', "[a")),
    ({"type": ["string", "object"], "additionalProperties": False}, ("[1]", "\n a {}", "{}"), ('{"a": 1}', '\n {"a": 1}')),
    ({"anyOf": [{"type": "string"}, WORDS, {"type": "object", "maxProperties": 0}]}, ("a", "[]", "{}"), ("[1]", '{"a": 1}')),
    ({"allOf": [{"type": ["string", "object"]}, {"minLength": 1}]}, ("a", '{"a": 1}'), ()),
]


@pytest.mark.parametrize(("schema", "good", "bad"), CHOSEN)
def test_a_strict_choice_is_held_wherever_the_schema_keeps_it(
    schema: dict[str, Any], good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    """Values that a schema names are held behind references, as constants and beside a null, as pydantic writes them."""
    told = {"type": "object", "properties": {"unit": schema}, "required": ["unit"], "additionalProperties": False} | UNIT
    constraint = held(CallOf("heat"), ToolSpec("heat", "", told, strict=True))
    assert all(fits(constraint, xml("heat", ("unit", text))) for text in good)
    assert not any(fits(constraint, xml("heat", ("unit", text))) for text in bad)


@pytest.mark.parametrize(("schema", "good", "bad"), MIXED)
def test_what_would_be_read_as_a_strict_list_or_object_is_held_as_one(
    schema: dict[str, Any], good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    """Where a string may stand in the place of a list or an object, no text reads as one that the schema does not permit."""
    told = {"type": "object", "properties": {"what": schema}, "required": ["what"], "additionalProperties": False}
    constraint = held(CallOf("tell"), ToolSpec("tell", "", told, strict=True))
    assert all(fits(constraint, xml("tell", ("what", text))) for text in good)
    assert not any(fits(constraint, xml("tell", ("what", text))) for text in bad)


def test_a_required_call_may_be_any_and_several() -> None:
    """Any offered tool may be called, several times unless calls come one by one; a tool without a schema takes anything."""
    both = xml("look", ("x", "y")) + "\n" + GOOD[1]
    assert fits(held(Calling.REQUIRED, LOOK, EDIT), both)
    alone = held(Calling.REQUIRED, LOOK, EDIT, parallel=False)
    assert fits(alone, GOOD[1]) and not fits(alone, both) and not fits(alone, "hello")


def test_a_strict_tool_binds_an_answer_that_may_call() -> None:
    """Text alone, text before calls: all is free but what begins as a call."""
    constraint = held(Calling.AUTO, LOOK, EDIT)
    for text in ("", "hello <b>", GOOD[0], f"Well.\n{GOOD[1]}", f"{xml('look')}\n{GOOD[0]} done"):
        assert fits(constraint, text)
    for text in ("<function=edit>", "<tool_call>", f"so {BAD[4]}", xml("none")):
        assert not fits(constraint, text)


def test_the_json_form_is_held_as_well() -> None:
    """Where the checkpoint writes calls as JSON the grammar does, with the references of the schema resolved."""
    constraint = held(CallOf("edit"), EDIT, form=CallForm.JSON)
    assert fits(constraint, written("edit", path="a", line=3)) and fits(constraint, written("edit", path="a", how="<[1]>"))
    for text in (written("edit", path="a", line=10), written("edit"), written("look"), written("edit", path="a", x=1), GOOD[0]):
        assert not fits(constraint, text)
    free = held(Calling.REQUIRED, LOOSE, LOOK, form=CallForm.JSON)
    assert fits(free, written("look", a=1)) and fits(free, written("edit", path="a", line=10))


def test_a_schema_that_need_not_be_held_cannot_be_refused() -> None:
    """Of a tool that is not strict only names, types and required arguments count, whatever words its schema has."""
    constraint = held(CallOf("edit"), LOOSE)
    assert fits(constraint, xml("edit", ("path", "a"), ("line", "10"))) and not fits(
        constraint, xml("edit", ("path", "a"), ("line", "x"))
    )


@pytest.mark.parametrize("text", [GOOD[1], f"Well.\n{GOOD[2]}", written("edit", path="a", line=3)])
def test_what_fits_reads_as_the_call(text: str) -> None:
    """A call that the grammar lets through is read back with its values."""
    (called,) = calls_of(AnswerReader([EDIT], "call_"), text)
    assert called.name == "edit" and "path" in json.loads(called.arguments)


def test_no_choice_needs_no_grammar() -> None:
    """Without a must and without a strict tool an answer may be anything, and where none may be called nothing is held."""
    assert not Conversation((), (LOOSE, LOOK)).binding
    assert not Conversation((), (EDIT,), Calling.NONE).binding
