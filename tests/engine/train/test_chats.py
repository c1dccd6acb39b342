"""A person's chats: every answer once a pass, and every fault named by file, line and reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.chat_template import ChatTemplate
from engine.train import chats as room
from engine.train.chats import Chats, DataError
from engine.train.corpus import prompt_ids
from engine.train.messages import Role
from engine.train.tasks.chat import Call, Chat, Parameter, Reply, Result, Tool, User, ids, spoken
from engine.train.vocabulary import CHAT_TEMPLATE
from tests.engine.chat_format import Message, render_chat
from tests.engine.harness import tokenizer
from tests.engine.train.given import chats

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}

FIND: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "Finds a word.",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string"}, "most": {"type": "integer"}},
            "required": ["word"],
        },
    },
}


def called(arguments: Any) -> dict[str, Any]:
    """A turn that calls the tool."""
    return {
        "role": "assistant",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "find", "arguments": arguments}}],
    }


ASKED = ({"role": "user", "content": "Where is <tool_call>?"}, called({"word": "tool", "most": 3}))


def template() -> ChatTemplate:
    """The family's form over the tests' own tokenizer."""
    return ChatTemplate(CHAT_TEMPLATE.read_text(encoding="utf-8"), tokenizer())


def offered(*messages: Any, tools: Sequence[Any] = (FIND,)) -> str:
    """One line of a file, with the tool on offer."""
    return json.dumps({"messages": messages, "tools": tools})


def said(*turns: tuple[str, Any], **more: Any) -> str:
    """One line of a file."""
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]} | more)


def test_every_answer_is_a_row_with_all_before_it(tmp_path: Path) -> None:
    """A prompt is what the model would be given, and the row goes on with the answer and the end of its turn."""
    path = tmp_path / "chats.jsonl"
    path.write_text(said(("user", "One?"), ("assistant", "Yes."), ("user", "Two?"), ("assistant", "No.")) + "\n\n")
    found, words = Chats(path, template(), 512, seed=1), tokenizer()
    rows = sorted((found.row(index) for index in range(2)), key=lambda row: row.prompt_length)
    turns = [Message(Role.USER, "One?"), Message(Role.ASSISTANT, "Yes."), Message(Role.USER, "Two?")]
    for row, before, answer in zip(rows, (turns[:1], turns), ("Yes.", "No."), strict=True):
        assert list(row.ids) == [*render_chat(words, before), *words.encode(answer), words.eos_id]
        assert row.prompt_length == len(render_chat(words, before))


def test_calls_are_taught_as_the_exercises_teach_them(tmp_path: Path) -> None:
    """A call is a row too, it and its result in the family's form; arguments may be an object or its JSON text."""
    tool = Tool("find", "Finds a word.", (Parameter("word", "string"), Parameter("most", "integer")), ("word",))
    call, result = Call("find", {"word": "tool", "most": 3}), Result("On line 4.")
    turns, words = (User("Where is <tool_call>?"), call, result), tokenizer()
    answers: tuple[Reply, ...] = (call, "On line 4.")
    for asked in (ASKED, (ASKED[0], called('{"word": "tool", "most": 3}') | {"content": None})):
        path = tmp_path / "chats.jsonl"
        results = {"role": "tool", "tool_call_id": "1", "content": "On line 4."}, {"role": "assistant", "content": "On line 4."}
        path.write_text(offered(*asked, *results))
        found = Chats(path, template(), 512, seed=1)
        rows = sorted((found.row(index) for index in range(len(found))), key=lambda row: row.prompt_length)
        for row, before, answer in zip(rows, (turns[:1], turns), answers, strict=True):
            prompt = prompt_ids(Chat(before, (tool,)), words)
            assert list(row.ids) == [*prompt, *ids(words, spoken(answer)), words.eos_id]
            assert row.prompt_length == len(prompt)


def test_a_template_that_cannot_teach_is_named(tmp_path: Path) -> None:
    """One that knows no tools, or tells a past answer otherwise than it asks for one, stops the training before it begins."""
    path, source = tmp_path / "chats.jsonl", CHAT_TEMPLATE.read_text(encoding="utf-8")
    path.write_text(offered(*ASKED, {"role": "tool", "content": "a"}, {"role": "assistant", "content": "b"}))
    with pytest.raises(DataError, match=r":1: .*knows no tools"):
        Chats(path, ChatTemplate("{{ messages[0].content }}", tokenizer()), 512, seed=1)
    for other in (
        source.replace("assistant\\n<think></think>' ~", "assistant\\n' ~"),
        source.replace("'<|im_end|>\\n'", "'\\n'"),
    ):
        assert other != source
        with pytest.raises(DataError, match=r":1: .*in another way than it asks for one"):
            Chats(path, ChatTemplate(other, tokenizer()), 512, seed=1)


def test_a_pass_holds_every_row_once(tmp_path: Path) -> None:
    """Each pass is a permutation, each another one, and a row depends on its number alone."""
    path = chats(tmp_path / "chats.jsonl", count=20)
    found, again = (Chats(path, template(), 512, seed=3) for _ in range(2))
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
        (said(("user", "a"), ("assistant", "b"), functions=[{"name": "f"}]), "another age"),
        (said(("user", "a"), ("assistant", "b"), tools={"name": "f"}), '"tools" must be a list'),
        (said(("user", "a"), ("assistant", "b"), tools=[{"name": "f"}]), r"tools\[0\] must be"),
        (said(("user", "a"), ("assistant", "b"), tools=[{"function": {"name": "f", "parameters": 3}}]), "no JSON schema"),
        (said(("user", "a"), ("assistant", "b"), tools=[FIND, FIND]), r"tools\[1\] has the name of an earlier one"),
        (said(("user", "a"), ("tool", "b"), ("assistant", "c"), tools=[FIND]), "take turns"),
        (offered(*ASKED, {"role": "assistant", "content": "It is there."}), "take turns"),
        (offered(*ASKED, {"role": "tool", "content": "x"}), "assistant come last"),
        (offered(*ASKED, tools=[]), r"messages\[1\] calls 'find', which is not among"),
        (offered(ASKED[0], {"role": "assistant", "tool_calls": [{"name": "find"}]}), "a call must be"),
        (offered(ASKED[0], {"role": "assistant", "tool_calls": {"name": "find"}}), "no list"),
        (offered(ASKED[0], called("{]")), "a call must be"),
        (offered(ASKED[0], called("[1]")), "a call must be"),
        (offered({"role": "user", "content": "x", "tool_calls": []}), "nothing else"),
        (said(("user", "word " * 900), ("assistant", "b")), "tokens, more than the 512"),
        (said(("user", "\ud800"), ("assistant", "b")), "surrogate"),
        (said(("user", "a"), ("assistant", "b"), system="Be brief."), "give it as the first"),
        (said(("user", "a"), ("assistant", "b"))[:-1] + ', "messages": []}', "the key 'messages' comes twice"),
        (said(("user", "a"), ("assistant", "b")).replace('"content"', '"content": "c", "content"'), "'content' comes twice"),
        (offered(ASKED[0], called({"word": float("nan")})), "NaN is no number"),
        (offered(ASKED[0], called('{"word": "a", "word": "b"}')), "a call must be"),
        (offered(ASKED[0], {"role": "assistant", "tool_calls": [{"function": {"name": "find", "input": {}}}]}), "a call must"),
        ("[" * 100_000, "not JSON|recursion|overflow"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    """The error says which file, which line and why."""
    path = tmp_path / "chats.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{line}\n")
    with pytest.raises(DataError, match=f"chats.jsonl:3: .*({reason})"):
        Chats(path, template(), 512, seed=1)


def test_files_that_are_no_chats_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty, absent, binary and overlong files are errors, not surprises."""
    path = tmp_path / "chats.jsonl"
    with pytest.raises(DataError, match="cannot be read"):
        Chats(path, template(), 512, seed=1)
    path.write_text("\n \n")
    with pytest.raises(DataError, match="no conversation"):
        Chats(path, template(), 512, seed=1)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match=":1: it is not UTF-8"):
        Chats(path, template(), 512, seed=1)
    monkeypatch.setattr(room, "LONGEST_LINE", 1000)
    path.write_text(f"{json.dumps(GOOD)}\n{'x' * 5000}\n")
    with pytest.raises(DataError, match=":2: a line may have 1000 bytes"):
        Chats(path, template(), 512, seed=1)
