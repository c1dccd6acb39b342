"""What lies on the sheet is the whole answer: a file keeps the doubts of the tokens that write it, and nothing is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.judgements import Called, ReleaseDecision
from audit.records import DecodeRun
from engine.request import Mode
from gateway.review.acts import Calls, Runs, Says, Writes, title_of
from gateway.review.marks import on_a_line, visible
from gateway.review.review import Review, review_of
from gateway.review.sheet import LINES_MOST, TOGETHER, Row, edit_of, sheet_of
from gateway.review.spelling import SPELLINGS, Spelling, places
from tests.engine.harness import asked, tokenizer
from tests.gateway.review.told import opening

CALL = """<tool_call>
<function=write_file>
<parameter=path>
src/fees.py
</parameter>
<parameter=content>
def fee():
    return 1
</parameter>
</function>
</tool_call>"""


def answered(text: str, *tools: str) -> Review:
    """An answer of this text, whose every token is unsure."""
    ids = tuple(tokenizer().encode(text))
    request = asked(Mode.AR, (1, 2))
    judged = ReleaseDecision("hold", (), (), (), (), tuple(Called(tool, ()) for tool in tools), (), (), ())
    return review_of([opening(request), DecodeRun(2, ids, (-1.5,) * len(ids), len(ids)), judged], tokenizer().decode_bytes)


def lines(rows: Sequence[Row]) -> str:
    """The text of rows."""
    return "\n".join("".join(word.text for word in row.words) for row in rows)


def test_plain_text_is_itself() -> None:
    """An answer without calls is one section of all its tokens, line by line."""
    review = answered("one\n\n  two \n")
    (section,) = sheet_of(review).sections
    assert lines(section.rows) == "one\n\n  two \n" and section.verbatim and not sheet_of(review).written
    assert all(word.step == 4 and word.told == "0.22" for row in section.rows for word in row.words)


def test_a_written_file_is_made_of_the_answers_tokens() -> None:
    """The rows of a file are exactly its content, each word of a token of the answer; the answer as written follows."""
    review = answered(f"I write it.\n{CALL}", "write_file")
    sheet = sheet_of(review)
    said, file = sheet.sections
    assert (said.kind, lines(said.rows)) == ("text", "I write it.")
    assert file.heading == "write_file: writes src/fees.py" and file.verbatim
    assert lines(file.rows) == "def fee():\n    return 1"
    assert all(word.token is not None for row in file.rows for word in row.words)
    assert not sheet.whole
    assert lines(sheet.written) == review.text.rstrip() == f"I write it.\n{CALL}"


CONTENT = 'def fee(name):\n\treturn f"{name}: \\\\ 1 €"\n# 🦊'
GIVEN = {"path": "src/fees.py", "content": CONTENT}
SPELLED = (
    json.dumps({"name": "write_file", "arguments": GIVEN}),
    json.dumps({"name": "write_file", "arguments": GIVEN}, ensure_ascii=False, indent=1),
    json.dumps({"name": "write_file", "arguments": json.dumps(GIVEN)}),
    json.dumps({"name": "write_file", "arguments": json.dumps(GIVEN, ensure_ascii=False)}, ensure_ascii=False),
)


@pytest.mark.parametrize("call", SPELLED)
def test_a_file_in_json_has_the_doubts_of_the_tokens_that_spell_it(call: str) -> None:
    """However JSON spells what is written, its rows are its letters, each with the token in which its spelling begins."""
    review = answered(f"<tool_call>\n{call}\n</tool_call>", "write_file")
    (file,) = sheet_of(review).sections
    assert file.heading == "write_file: writes src/fees.py" and file.verbatim
    assert lines(file.rows) == CONTENT
    words = [word for row in file.rows for word in row.words]
    owners = [word.token for word in words if word.token is not None]
    assert len(owners) == len(words) and owners == sorted(owners)
    assert all(word.step == 4 and word.told == "0.22" for word in words)
    spelled = "".join(review.tokens[index].text for index in range(owners[0], owners[-1] + 1))
    assert json.dumps("def fee(name):")[1:-1] in spelled


@pytest.mark.parametrize("edited", [False, True])
def test_what_a_call_is_given_besides_lies_on_the_sheet(edited: bool) -> None:
    """An argument beside the command that is shown has a part of its own, also in an editor's text."""
    text = f"<tool_call>\n{json.dumps({'name': 'shell', 'arguments': {'command': 'ls', 'script': 'rm -rf /'}})}\n</tool_call>"
    review = answered("safe" if edited else text, "shell")
    runs, besides = sheet_of(replace(review, edits={2: text}) if edited else review).sections
    assert (runs.heading, lines(runs.rows)) == ("shell: runs a command", "ls")
    assert besides.heading == "shell: is also given" and json.loads(lines(besides.rows)) == {"script": "rm -rf /"}


@given(st.text(max_size=60), st.sampled_from(SPELLINGS))
def test_each_letter_is_found_where_its_spelling_begins(text: str, spelling: Spelling) -> None:
    """Read from one place to the next, the spelling of each letter stands there."""
    whole = f"before {spelling(text)}"
    starts = [*places(text, spelling, 7)] if text else []
    assert [whole[start:].startswith(spelling(letter)) for start, letter in zip(starts, text, strict=True)] == [True] * len(
        text
    )


@given(st.lists(st.sampled_from(("", " ", "\n", "\u200b", "x"))).map("".join))
def test_every_answer_has_a_headline(text: str) -> None:
    """Whatever is said, thought or called without a name, a headline can be read."""
    acts = ((), (Says(text),), (Says(text, thought=True),), (Calls(text, "{}"),), (Writes("", "", text),), (Runs(text, text),))
    assert all(on_a_line(title_of(each)).strip() for each in acts)


def test_blanks_around_are_part_of_the_answer() -> None:
    """An answer of nothing but blanks still lies whole on the sheet."""
    (section,) = sheet_of(answered(" \n ")).sections
    assert lines(section.rows) == " \n "


def test_an_unedited_answer_has_no_edit() -> None:
    """Only what a person changed is a change."""
    assert edit_of(answered("x")) == ()


def test_lines_without_end_are_bounded_and_whole() -> None:
    """However many lines an edit has, its rows are few and joined they are the text; marks of calls in it are spelled."""
    text = "x\n" * 2_000_000 + "<tool_call>\u202e"
    review = replace(answered("x"), edits={2: text})
    sheet = sheet_of(review)
    rows = [row for section in sheet.sections for row in section.rows]
    assert review.too_long and sheet.crowded and len(rows) < LINES_MOST + 2_000_000 // TOGETHER + 2
    assert lines(rows) == visible(text)
    assert sum(row.lines for row in rows) == 2_000_001
