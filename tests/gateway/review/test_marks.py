"""The ramp, hostile characters, differences, and what calls would do."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.review.acts import Calls, Changes, Gives, Requests, Runs, Says, Writes, acts_of, title_of
from gateway.review.diffing import Side, difference, words_in
from gateway.review.marks import RAMP, hidden, on_a_line, probability, unsure, visible
from gateway.review.words import WORD_MOST, Words


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_ramp_only_rises_with_doubt(one: float, other: float) -> None:
    """A less sure token never has a lower step; all five steps exist; exactly at a border a token counts as the surer."""
    less, more = sorted((one, other))
    assert 0 <= unsure(more) <= unsure(less) <= 4
    assert [unsure(border) for border in RAMP] == [3, 2, 1, 0]
    assert [unsure(math.nextafter(border, 0)) for border in RAMP] == [4, 3, 2, 1] and unsure(None) == 0


@pytest.mark.parametrize(("logprob", "known"), [(math.nan, 0.0), (-math.inf, 0.0), (3.0, 1.0), (math.log(0.5), 0.5)])
def test_a_probability_is_one(logprob: float, known: float) -> None:
    """Whatever a record holds, a probability from 0 to 1 comes of it."""
    assert probability(logprob) == pytest.approx(known)


@given(st.text())
def test_nothing_is_invisible(text: str) -> None:
    """What is shown has no character without a shape; plain text is shown as it is; lines stay lines."""
    shown = visible(text)
    assert hidden(shown) == 0 and shown.count("\n") == text.count("\n")
    assert hidden(text) > 0 or shown == text
    assert "\n" not in on_a_line(text)


@pytest.mark.parametrize(
    "code", [0x34F, 0x115F, 0x1160, 0x17B4, 0x180B, 0x2800, 0x3164, 0xFE00, 0xFE0F, 0xFFA0, 0xE0100, 0xE01EF]
)
def test_letters_that_are_drawn_as_nothing_are_spelled(code: int) -> None:
    """A filler that is a name in a program, and a selector in which bytes can be hidden, is written out and counted."""
    assert (visible(f"a{chr(code)}b"), hidden(chr(code))) == (f"a⟨U+{code:04X}⟩b", 1)


def test_a_turned_direction_is_spelled() -> None:
    """Marks that would have code read otherwise than it runs are written out."""
    assert visible("access = '\u202euser'\u0000") == "access = '⟨U+202E⟩user'⟨U+0000⟩"


PARTS = st.lists(st.sampled_from(["a", "b", "c ", "\n", "dd"]), max_size=40)


@given(PARTS, PARTS)
def test_a_difference_is_both_texts(old: list[str], new: list[str]) -> None:
    """Parts of both and of the old side are the old text, with the new side the new one; equal texts differ nowhere."""
    parts = difference(old, new)
    assert "".join(part.text for part in parts if part.side is not Side.NEW) == "".join(old)
    assert "".join(part.text for part in parts if part.side is not Side.OLD) == "".join(new)
    assert all(part.side is Side.BOTH for part in difference(old, old))


@given(st.text())
def test_words_joined_are_the_text(text: str) -> None:
    """Cutting a text into words loses nothing."""
    assert "".join(words_in(text)) == text


def test_a_huge_difference_is_one_change() -> None:
    """Texts too long to compare are one replacement between what they have in common at both ends."""
    old, new = ["x", *map(str, range(5000)), "y"], ["x", *map(str, range(9000, 14000)), "y"]
    assert [part.side for part in difference(old, new)] == [Side.BOTH, Side.OLD, Side.NEW, Side.BOTH]


def called(name: str, **arguments: object) -> str:
    """A call as a model writes it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def test_calls_are_shown_as_what_they_would_do() -> None:
    """A file, a change, a command, a request and any other call, each in the order of the answer, with the text between."""
    text = (
        "I will fix it.\n"
        + called("write_file", path="src/fees.py", content="x = 1\n")
        + called("Edit", file_path="a.py", old_string="one\ntwo\n", new_string="one\n2\n")
        + called("shell", command=["rm", "-r", "a b"])
        + called("fetch", url="https://example.org/x", method="post", body="{}")
        + called("weather", city="Delft")
    )
    says, writes, changes, runs, requests, calls = acts_of(text, ["write_file", "Edit", "shell", "fetch", "weather"])
    assert says == Says("I will fix it.")
    assert writes == Writes("write_file", "src/fees.py", "x = 1\n")
    assert isinstance(changes, Changes) and [(part.side, part.text) for part in changes.parts] == [
        (Side.BOTH, "one\n"),
        (Side.OLD, "two\n"),
        (Side.NEW, "2\n"),
    ]
    assert runs == Runs("shell", "rm -r 'a b'")
    assert isinstance(requests, Requests) and (requests.method, requests.address) == ("POST", "https://example.org/x")
    assert isinstance(calls, Calls) and json.loads(calls.arguments) == {"city": "Delft"}
    assert title_of([says, writes]) == "write_file src/fees.py" and title_of([says]) == "I will fix it."


@pytest.mark.parametrize("arguments", [{"path": 3, "content": []}, {"edits": [1]}, {"command": [1]}, {"url": None}, {}])
def test_arguments_of_other_types_are_shown_as_they_are(arguments: dict[str, object]) -> None:
    """What does not read as an act that is known is a call with its arguments."""
    (act,) = acts_of(called("write_file", **arguments), ["write_file"])
    assert isinstance(act, Calls)


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": "ls", "script": "rm -rf /", "cwd": "/etc"},
        {"command": ["ls", "-l"], "cmd": "rm -rf /"},
        {"path": "notes.txt", "file_path": "/etc/passwd", "content": "hello"},
        {"path": "notes.txt", "content": "hello", "mode": "append", "text": "evil"},
        {"path": "notes.txt", "content": "hello", "old_string": "x", "new_string": "y"},
        {"path": "notes.txt", "edits": [{"old": "x", "new": "y", "where": "everywhere"}], "command": "rm -rf /"},
        {"path": "notes.txt", "edits": [{"old": "x", "new": "y"}, "rm -rf /"]},
        {"url": "https://example.org", "uri": "https://evil.example", "method": "post"},
        {"path": "notes.txt", "url": "https://example.org"},
    ],
)
def test_no_argument_of_a_call_is_left_out(arguments: dict[str, object]) -> None:
    """Whatever an act does not tell of its call is shown beside it: a tool may act on any of its arguments."""
    shown = repr(acts_of(called("tool", **arguments), ["tool"])).casefold()
    assert [text for text in _texts(arguments) if text.casefold() not in shown] == []


def _texts(told: object) -> list[str]:
    if isinstance(told, dict):
        return [text for each in told.values() for text in _texts(each)]
    return [text for each in told for text in _texts(each)] if isinstance(told, list) else [str(told)]


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": "notes.txt", "content": "hello"},
        {"path": "notes.txt", "edits": [{"old": "x", "new": "y"}, {"old": "z", "new": ""}]},
        {"command": ["ls", "-l"]},
        {"url": "https://example.org", "method": "post", "body": "x"},
    ],
)
def test_what_an_act_tells_whole_is_told_once(arguments: dict[str, object]) -> None:
    """A call that its act tells to the end has nothing beside it."""
    (act,) = acts_of(called("tool", **arguments), ["tool"])
    assert not isinstance(act, Calls | Gives)


def test_a_patch_is_a_change() -> None:
    """The form in which Codex edits files is read as one."""
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-old\n+new\n same\n*** End Patch"
    act, rest = acts_of(called("apply_patch", input=patch, path=1), ["apply_patch"])
    assert rest == Gives("apply_patch", '{\n  "path": 1\n}')
    assert isinstance(act, Changes) and act.path == "a.py"
    assert [part.text for part in act.parts if part.side is Side.NEW] == ["+new\n"]


def test_what_is_not_offered_is_text() -> None:
    """A call of a tool that was not offered is what its client would see: text."""
    text = called("rm", path="/")
    assert acts_of(text, ["ls"]) == (Says(text),)


def test_words_of_ids() -> None:
    """An id reads as its text on one line, as an end, or by its number, and never grows long."""
    words = Words(lambda ids: {1: b"a\n", 2: b"", 3: b"", 4: b"x" * 500}[ids[0]], [2])
    assert [words.of(token) for token in (1, 2, 3)] == ["a↵", "⟨end⟩", "⟨3⟩"]
    assert len(words.of(4)) == WORD_MOST


def test_a_blank_that_stands_by_itself_is_seen() -> None:
    """Of blanks alone each becomes a sign; every other word is as it is in its line, where a blank stays one."""
    words = Words(lambda ids: {1: b"  ", 2: b" a ", 3: b"\n"}[ids[0]], [])
    assert [words.alone(token) for token in (1, 2, 3)] == ["␣␣", " a ", "↵"] and words.of(1) == "  "
