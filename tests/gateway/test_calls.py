"""Calls are read from released text: whatever the chunking, nothing is lost, and nothing raises."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.calls import AnswerReader, CallArguments, CallBegun, CallEnded, Part, Reasoning, calls_of, parts_of
from gateway.dialects.request import ToolSpec
from gateway.pieces import Text

EDIT = ToolSpec(
    "edit",
    "",
    {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "line": {"type": "integer"},
            "share": {"type": "number"},
            "force": {"type": "boolean"},
            "names": {"type": "array", "items": {"type": "string"}},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "where": {"$ref": "#/$defs/place"},
            "width": {"anyOf": [{"type": "integer"}, {"const": "auto"}]},
            "size": {"anyOf": [{"type": "integer"}, {"allOf": [{"type": "string"}, {"minLength": 1}]}]},
            "level": {"enum": [1, "1", 2, "high"]},
        },
        "$defs": {"place": {"type": "object"}},
    },
)
LOOK = ToolSpec("look", "", {})
TOOLS = (EDIT, LOOK)


def xml(name: str, *pairs: tuple[str, str]) -> str:
    """A call as Qwen3-Coder writes it."""
    told = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in pairs)
    return f"<tool_call>\n<function={name}>\n{told}</function>\n</tool_call>"


def joined(parts: Iterable[Part]) -> list[Part]:
    """Neighbouring texts and thoughts as one."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, Text) and isinstance(last, Text):
            found[-1] = Text(last.text + part.text)
        elif isinstance(part, Reasoning) and isinstance(last, Reasoning):
            found[-1] = Reasoning(last.text + part.text)
        else:
            found.append(part)
    return found


def read(chunks: Sequence[str], *, thinking: bool = False, tools: Sequence[ToolSpec] = TOOLS) -> list[Part]:
    """All parts of an answer that comes in these pieces."""
    reader = AnswerReader(tools, "call_", thinking=thinking)
    return joined([part for chunk in chunks for part in reader.read(chunk)] + reader.end())


PIECES = (
    "<tool_call>", "</tool_call>", "<function=edit>", "<function=look>", "<function=none>", "</function>", "<parameter=path>",
    "<parameter=line>", "</parameter>", "\n", " ", "a", "7", "{", '{"name": "look", "arguments": {}}', '"', "<", ">", "<think>",
    "</think>", "é", "\x00", '{"name": "look", "arguments": {"a": "</tool_call>"}}', xml("edit", ("line", "3")),
)  # fmt: skip
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=14).map("".join)


@given(HOSTILE, st.data(), st.booleans())
def test_any_chunking_gives_the_same_parts(text: str, data: st.DataObject, thinking: bool) -> None:
    """However a text is cut, its parts are those of the whole; and no text raises."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    borders = [0, *cuts, len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(borders)]
    assert read(chunks, thinking=thinking) == read([text], thinking=thinking) == read(list(text), thinking=thinking)


def test_many_calls_in_one_text_cost_no_more_than_each() -> None:
    """Sixteen times as many take about sixteen times as long, where for each all that follows was copied; none is lost."""

    def cost(calls: int) -> float:
        text, begun = xml("look") * calls, time.process_time()
        assert len(calls_of(AnswerReader(TOOLS, "call_"), text)) == calls
        return time.process_time() - begun

    assert cost(64_000) < 60 * cost(4_000)
    text = f"{xml('look', ('x', 'y' * 17))} and " * 700
    assert joined(parts_of(AnswerReader(TOOLS, "call_"), text)) == read([text[:20_000], text[20_000:]])


@pytest.mark.parametrize("end", ["", "</tool_call>", " </tool_call> so", "so", "</tool_call"])
def test_the_mark_within_a_string_ends_no_call(end: str) -> None:
    """A call whose arguments speak of the mark is read alike in one piece, in two, and character by character."""
    text = '<tool_call>{"name": "look", "arguments": {"a": "</tool_call>", "b": [true, -1.5e3, "\\u00e9</tool_call>"]}}' + end
    whole = read([text])
    assert isinstance(whole[0], CallBegun) is (end not in ("so", "</tool_call"))
    assert read(list(text)) == whole and all(read([text[:cut], text[cut:]]) == whole for cut in range(len(text)))


@given(HOSTILE)
def test_what_is_no_call_is_text_to_the_letter(text: str) -> None:
    """Without calls the texts are the answer; with calls they are what stands around them, in order, but for blanks."""
    parts = read([text])
    said = [part.text for part in parts if isinstance(part, Text)]
    if not any(isinstance(part, CallBegun) for part in parts):
        assert "".join(said) == text
    place = 0
    for piece in said:
        place = text.index(piece, place) + len(piece)
    assert read([text], tools=()) == ([Text(text)] if text else [])


@given(HOSTILE)
def test_calls_come_whole_and_valid(text: str) -> None:
    """A call is its beginning, one JSON object and its end, of an offered tool; numbers and ids count from 0."""
    parts = read([text])
    begun = [place for place, part in enumerate(parts) if isinstance(part, CallBegun)]
    assert len(begun) == sum(isinstance(part, CallArguments | CallEnded) for part in parts) / 2
    for count, place in enumerate(begun):
        first, told, ended = parts[place : place + 3]
        assert isinstance(first, CallBegun) and first.id == f"call_{count}" and first.name in ("edit", "look")
        assert isinstance(told, CallArguments) and isinstance(json.loads(told.json), dict) and told.json.encode()
        assert isinstance(ended, CallEnded)
    assert [called.arguments for called in calls_of(AnswerReader(TOOLS, "call_"), text)] == [
        part.json for part in parts if isinstance(part, CallArguments)
    ]


@pytest.mark.parametrize(
    ("key", "printed", "value"),
    [
        ("path", "5", "5"),
        ("path", "  def f():\n    pass", "  def f():\n    pass"),
        ("path", "null", "null"),
        ("line", "5", 5),
        ("line", "5.0", 5),
        ("line", "five", "five"),
        ("line", "9" * 5000, "9" * 5000),
        ("share", "0.5", 0.5),
        ("share", "2", 2),
        ("share", "1e999", "1e999"),
        ("force", "True", True),
        ("force", "false", False),
        ("names", '["a", "é"]', ["a", "é"]),
        ("names", "[" * 5000, "[" * 5000),
        ("note", "None", None),
        ("note", "7", "7"),
        ("where", '{"a": 1}', {"a": 1}),
        ("width", "7", 7),
        ("width", "auto", "auto"),
        ("width", "wide", "wide"),
        ("size", "7", "7"),
        ("level", "1", "1"),
        ("level", "2", 2),
        ("unknown", "7", "7"),
    ],
)
def test_values_have_the_types_of_the_schema(key: str, printed: str, value: object) -> None:
    """A printed value is read by its schema's type; what does not fit, and every string, stays a string."""
    (called,) = calls_of(AnswerReader(TOOLS, "call_"), xml("edit", (key, printed)))
    assert json.loads(called.arguments) == {key: value}


@pytest.mark.parametrize(
    "text",
    [
        xml("edit", ("line", "3")),
        "<function=edit>\n<parameter=line>\n3\n</parameter>\n</function>",
        "<function=edit><parameter=line>3</parameter></function>\n</tool_call>",
        "<tool_call><function=edit>\n<parameter=line>\n3\n</parameter>\n</tool_call>",
        '<tool_call>\n{"name": "edit", "arguments": {"line": 3}}\n</tool_call>',
        '<tool_call>{"name": "edit", "parameters": {"line": "3"}}</tool_call>',
        '<tool_call>{"name": "edit", "arguments": "{\\"line\\": 3}"}',
    ],
)
def test_forms_are_read_leniently(text: str) -> None:
    """Missing outer marks, a missing end of the function, blanks or none, JSON with a text for arguments: all are the call."""
    expected = [Text("Well."), CallBegun("call_0", "edit"), CallArguments('{"line": 3}'), CallEnded()]
    assert parts_of(AnswerReader(TOOLS, "call_"), f"Well.\n\n{text}\n") == expected


@pytest.mark.parametrize(
    "text",
    [
        xml("none"),
        xml("edit", ("line", "3"), ("line", "4")),
        "<tool_call>\n<function=edit>\n<parameter=line>\n3",
        "<tool_call>\nnothing</tool_call>",
        '<tool_call>{"name": "edit", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": "edit", "arguments": {"a": NaN}}</tool_call>',
        "<tool_call>" + "{" * 100_000 + "</tool_call>",
    ],
)
def test_what_does_not_read_as_a_call_is_text(text: str) -> None:
    """A tool that is not offered, an argument told twice, an end that never comes or a value that is no JSON stays text."""
    assert joined(parts_of(AnswerReader(TOOLS, "call_"), text)) == [Text(text)]


def test_parallel_calls_may_be_limited() -> None:
    """Beyond the most calls that are wanted, what looks like a call is text."""
    twice = xml("look") + "\n" + xml("look")
    reader = AnswerReader(TOOLS, "c", most=1)
    parts = joined(reader.read(twice) + reader.end())
    assert [type(part) for part in parts] == [CallBegun, CallArguments, CallEnded, Text] and parts[-1] == Text(xml("look"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("\nwhy\n</think>\n\nBecause.", [Reasoning("why"), Text("Because.")]),
        ("<think>\nwhy</think>Because.</think>", [Reasoning("why"), Text("Because.</think>")]),
        ("never ends <th", [Reasoning("never ends <th")]),
        (f"so</think>{xml('look')}", [Reasoning("so"), CallBegun("call_0", "look"), CallArguments("{}"), CallEnded()]),
    ],
)
def test_thoughts_come_first(text: str, parts: list[Part]) -> None:
    """What stands before the end of thinking is reasoning, and calls are read only behind it."""
    assert read([text], thinking=True) == parts


def test_a_circular_schema_is_harmless() -> None:
    """A schema that refers to itself in many ways is looked at only so long, and its values stay as they are printed."""
    branch = {"$ref": "#/properties/a"}
    tool = ToolSpec("look", "", {"properties": {"a": {"anyOf": [branch] * 64}}})
    (called,) = calls_of(AnswerReader([tool], "call_"), xml("look", ("a", "7")))
    assert json.loads(called.arguments) == {"a": "7"}
