"""A person's chats: every answer once a pass, and every fault named by file, line and reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.tokenizer import Message, Role
from engine.train import chats as room
from engine.train.chats import Chats, DataError
from tests.engine.harness import tokenizer
from tests.engine.train.given import chats

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


def said(*turns: tuple[str, Any], **more: Any) -> str:
    """One line of a file."""
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]} | more)


def test_every_answer_is_a_row_with_all_before_it(tmp_path: Path) -> None:
    """A prompt is what the model would be given, and the row goes on with the answer and the end of its turn."""
    path = tmp_path / "chats.jsonl"
    path.write_text(said(("user", "One?"), ("assistant", "Yes."), ("user", "Two?"), ("assistant", "No.")) + "\n\n")
    found, words = Chats(path, tokenizer(), 512, seed=1), tokenizer()
    rows = sorted((found.row(index) for index in range(2)), key=lambda row: row.prompt_length)
    turns = [Message(Role.USER, "One?"), Message(Role.ASSISTANT, "Yes."), Message(Role.USER, "Two?")]
    for row, before, answer in zip(rows, (turns[:1], turns), ("Yes.", "No."), strict=True):
        assert list(row.ids) == [*words.render_chat(before), *words.encode(answer), words.eos_id]
        assert row.prompt_length == len(words.render_chat(before))


def test_a_pass_holds_every_row_once(tmp_path: Path) -> None:
    """Each pass is a permutation, each another one, and a row depends on its number alone."""
    path = chats(tmp_path / "chats.jsonl", count=20)
    found, again = (Chats(path, tokenizer(), 512, seed=3) for _ in range(2))
    size = len(found)
    passes = [[found.row(epoch * size + index).ids for index in range(size)] for epoch in range(3)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(passes[2])
    assert passes[0] != passes[1] != passes[2]
    assert again.row(2 * size + 5).ids == passes[2][5] and again.row(4).ids == passes[0][4]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "messages"),
        ('{"messages": 3}', "messages"),
        ('{"messages": []}', "take turns"),
        ('{"messages": ["hello"]}', r"messages\[0\] must be an object"),
        (said(("user", "a"), ("robot", "b")), r"messages\[1\] has role 'robot'"),
        (said(("user", "a"), ("assistant", None)), r"messages\[1\] has a content that is not text"),
        (said(("user", "a"), ("assistant", "  ")), r"messages\[1\] must say something"),
        (said(("user", "a"), ("assistant", "<think>hm</think>b")), "no thinking"),
        (said(("user", "a")), "assistant come last"),
        (said(("assistant", "a")), "take turns"),
        (said(("user", "a"), ("user", "b"), ("assistant", "c")), "take turns"),
        (said(("user", "a"), ("system", "b"), ("assistant", "c")), "take turns"),
        (said(("user", "a"), ("assistant", "b"), tools=[{"name": "f"}]), "tools"),
        (json.dumps({"messages": [*GOOD["messages"], {"role": "user", "content": "x", "tool_calls": []}]}), "nothing else"),
        (said(("user", "word " * 900), ("assistant", "b")), "tokens, more than the 512"),
        (said(("user", "\ud800"), ("assistant", "b")), "surrogate"),
        ("[" * 100_000, "not JSON|recursion"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    """The error says which file, which line and why."""
    path = tmp_path / "chats.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{line}\n")
    with pytest.raises(DataError, match=f"chats.jsonl:3: .*({reason})"):
        Chats(path, tokenizer(), 512, seed=1)


def test_files_that_are_no_chats_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty, absent, binary and overlong files are errors, not surprises."""
    path = tmp_path / "chats.jsonl"
    with pytest.raises(DataError, match="cannot be read"):
        Chats(path, tokenizer(), 512, seed=1)
    path.write_text("\n \n")
    with pytest.raises(DataError, match="no conversation"):
        Chats(path, tokenizer(), 512, seed=1)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match=":1: it is not UTF-8"):
        Chats(path, tokenizer(), 512, seed=1)
    monkeypatch.setattr(room, "LONGEST_LINE", 1000)
    path.write_text(f"{json.dumps(GOOD)}\n{'x' * 5000}\n")
    with pytest.raises(DataError, match=":2: a line may have 1000 bytes"):
        Chats(path, tokenizer(), 512, seed=1)
