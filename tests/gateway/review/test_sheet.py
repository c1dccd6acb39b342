"""What lies on the sheet is the whole answer: a file keeps the doubts of the tokens that write it, and nothing is left out."""

from __future__ import annotations

from collections.abc import Sequence

from audit.judgements import Called, ReleaseDecision
from audit.records import DecodeRun
from engine.request import Mode
from gateway.review.review import Review, review_of
from gateway.review.sheet import Row, edit_of, sheet_of
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


def test_blanks_around_are_part_of_the_answer() -> None:
    """An answer of nothing but blanks still lies whole on the sheet."""
    (section,) = sheet_of(answered(" \n ")).sections
    assert lines(section.rows) == " \n "


def test_an_unedited_answer_has_no_edit() -> None:
    """Only what a person changed is a change."""
    assert edit_of(answered("x")) == ()
