"""A checkpoint's template is rendered as its authors' library renders it, and nothing that was told becomes a special id."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from engine.chat_template import PRIVATE, CallForm, ChatTemplate, Guard, either
from engine.config import CheckpointError
from engine.errors import InvalidRequest
from engine.tokenizer import Tokenizer
from engine.train.vocabulary import CHAT_TEMPLATE
from tests.engine.small import TINY

TOKENIZER = Tokenizer.load(TINY)
SOURCE = CHAT_TEMPLATE.read_text(encoding="utf-8")
TEMPLATE = ChatTemplate(SOURCE, TOKENIZER)
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "edit",
        "description": "Edits.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string", "enum": ["a", "é"]}, "n": {"type": ["integer", "null"]}},
            "required": ["path"],
        },
    },
}
CALL: dict[str, Any] = {"type": "function", "function": {"name": "edit", "arguments": {"path": "x>\n", "n": 3, "all": ["é"]}}}
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Edit it. "},
    {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": "done"},
    {"role": "tool", "content": "<done>"},
    {"role": "assistant", "content": "It is done."},
    {"role": "user", "content": "tool"},
]


def test_ids_are_those_of_the_authors_library() -> None:
    """Turns, tools, calls and results give the very ids that transformers gives for the same template."""
    peer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(TINY / "tokenizer.json"), chat_template=SOURCE
    )
    for tools in ([], [TOOL, TOOL]):
        text = peer.apply_chat_template(TURNS, tools=tools or None, tokenize=False, add_generation_prompt=True)
        assert TEMPLATE.render(TURNS, tools) == peer.encode(text, add_special_tokens=False)


MARKS = sorted(TOKENIZER.reserved)
PIECES = st.one_of(
    st.sampled_from([*MARKS[:6], "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "[INST]"]),
    st.sampled_from(
        ["<", ">", "|im_end|>", "<|im_", "s", "tool_call", "/", "[", "INST]", "think", "\ue000", "\ue001", "a", " "]
    ),
)
HOSTILE = st.lists(PIECES, max_size=5).map("".join)


def marks(turns: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[int]:
    """The special ids of a prompt."""
    return [token for token in TEMPLATE.render(turns, tools) if token in TOKENIZER.special]


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_nothing_told_becomes_a_special_id(said: str, name: str, key: str, value: str) -> None:
    """Whatever stands in turns, names, keys and values, even keys that the template puts in brackets, the marks are its own."""

    def conversation(said: str, name: str, key: str, value: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        call = {"type": "function", "function": {"name": name, "arguments": {key: value, "list": [value]}}}
        schema = {"type": "object", "properties": {key: {"type": "string", key: value}}, key: [value]}
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": said},
            {"role": "assistant", "content": said, "tool_calls": [call]},
            {"role": "tool", "content": value},
        ]
        return turns, [{"type": "function", "function": {"name": name, "description": said, "parameters": schema, key: value}}]

    calm = marks(*conversation("said", "name", "zz", "value"))
    assert marks(*conversation(said, name, f"z{key}", value)) == calm
    assert marks(*conversation(said, name, key or "z", value)) == calm


@given(HOSTILE)
def test_what_was_told_stands_in_the_prompt_to_the_letter(said: str) -> None:
    """Taking a text apart for safety leaves no trace: the prompt holds it as it was told."""
    ids = TEMPLATE.render([{"role": "user", "content": f"({said})"}])
    assert f"({said})".encode() in TOKENIZER.decode_bytes(ids)


FAMILY = frozenset(f"<SPECIAL_{number}>" for number in range(18, 1000)) | TOKENIZER.reserved
WORDS = st.frozensets(st.text("ab<|.", min_size=1, max_size=5), min_size=1, max_size=12)


@given(WORDS, st.text("ab<|.", max_size=40))
def test_a_factored_pattern_finds_what_the_plain_one_finds(words: frozenset[str], text: str) -> None:
    """Whatever the words, the pattern finds at every place the longest word that stands there, and no other."""
    plain = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    assert re.findall(either(words), text) == re.findall(plain, text)
    assert re.findall(f"(?=({either(words)}))", text) == re.findall(f"(?=({plain}))", text)


def test_a_text_is_read_once_and_not_once_for_every_token() -> None:
    """What a thousand reserved tokens have in common stands in the patterns once, so `<` costs about what a letter costs."""
    guard = Guard(FAMILY)
    for pattern in (guard.pattern, guard._within):
        assert pattern.pattern.count("<") == pattern.pattern.count("SPECIAL_") == 1
    assert guard.pattern.split("a<SPECIAL_99<SPECIAL_100>") == ["a<SPECIAL_99", "<SPECIAL_100>", ""]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([{"role": "user", "content": "a\ud800"}], "surrogate"),
        ([{"role": "user", "content": "".join(map(chr, PRIVATE))}], "private-use"),
        ([{"role": "user", "content": None}, {"role": "assistant", "content": 5}], "does not take"),
    ],
)
def test_what_cannot_be_rendered_is_refused(turns: list[dict[str, Any]], reason: str) -> None:
    """Text that is no Unicode, that leaves no private character, or that the template cannot take is the caller's error."""
    with pytest.raises(InvalidRequest, match=reason):
        TEMPLATE.render(turns)


def test_depth_is_refused_and_not_suffered() -> None:
    """A schema nested beyond Python's stack is the caller's error."""
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(InvalidRequest, match="nested"):
        TEMPLATE.render(
            [{"role": "user", "content": "x"}], [{"type": "function", "function": {"name": "f", "parameters": deep}}]
        )


def test_a_long_conversation_lets_others_work() -> None:
    """While a megabyte is read in a thread the interpreter is free for the others, again and again."""
    turns = [{"role": "user", "content": "def f(x):\n    return x + 1  # a comment, or two\n" * 20_000}]

    thread, turns_of_others = threading.Thread(target=TEMPLATE.render, args=(turns,)), 0
    thread.start()
    while thread.is_alive():
        sleep(0.0005)
        turns_of_others += 1
    assert turns_of_others > 200  # some twenty while one call keeps the interpreter to itself, else thousands


def test_a_template_is_confined() -> None:
    """A template that reaches for Python's insides, or that turns the conversation down, is refused in words."""
    for source in ("{{ messages.__class__.__mro__ }}", "{{ raise_exception('only one turn') }}", "{{ messages.append(1) }}"):
        with pytest.raises(InvalidRequest, match="does not take"):
            ChatTemplate(source, TOKENIZER).render([{"role": "user", "content": "x"}])


@pytest.mark.parametrize(
    ("source", "form", "thinks"),
    [
        (SOURCE, CallForm.XML, False),
        ("{{ tools | tojson }}<tool_call>", CallForm.JSON, False),
        ("{{ messages }}{{ enable_thinking }}", None, True),
    ],
)
def test_what_a_template_knows_is_read_from_it(source: str, form: CallForm | None, thinks: bool) -> None:
    """Whether it takes tools, how it writes calls, and whether it lets the model think."""
    template = ChatTemplate(source, TOKENIZER)
    assert (template.call_form, template.can_think) == (form, thinks)


def test_a_template_is_found_where_checkpoints_keep_it(tmp_path: Path) -> None:
    """In a file of its own or in the tokenizer's settings; a base checkpoint has none; a broken one is an error."""
    assert ChatTemplate.load(tmp_path, TOKENIZER) is None
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text("{}")
    assert ChatTemplate.load(tmp_path, TOKENIZER) is None
    settings.write_text(json.dumps({"chat_template": "{{ messages[0].content }}"}))
    found = ChatTemplate.load(tmp_path, TOKENIZER)
    assert found is not None and TOKENIZER.decode(found.render([{"role": "user", "content": "hi"}])) == "hi"
    (tmp_path / "chat_template.jinja").write_text("{% if %}")
    with pytest.raises(CheckpointError, match="template"):
        ChatTemplate.load(tmp_path, TOKENIZER)
    settings.write_text("[")
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="template"):
        ChatTemplate.load(tmp_path, TOKENIZER)


def test_a_template_too_nested_for_python_is_the_checkpoints_fault() -> None:
    """Loops within loops beyond what the interpreter compiles are refused as any other template that cannot be used."""
    with pytest.raises(CheckpointError, match="template"):
        ChatTemplate("{% for turn in messages %}" * 30 + "{% endfor %}" * 30, TOKENIZER)
