"""Laws of the chat form with tools: our ids are those of the written template, special ids come from the form alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from engine.train import vocabulary
from engine.train.corpus import WHOLE, Mixture, drawn, prompt_ids
from engine.train.grammar import Split
from engine.train.messages import Role
from engine.train.tasks.chat import Call, Chat, Mark, Parameter, Result, Tool, User, heard, ids, prompt, read_call, spoken
from tests.engine.chat_format import Message, render_chat
from tests.engine.harness import tokenizer

TOKENIZER = tokenizer()
TOOL = Tool(
    "read_file",
    "Read a file.",
    (
        Parameter("path", "string", description="Where it is."),
        Parameter("tags", "array"),
        Parameter("how", "string", ("a", "b")),
    ),
    ("path",),
)
CALL = Call("read_file", {"path": "src/a.py", "tags": ["x", "y é"], "how": "a"})
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
MARKS = frozenset(map(TOKENIZER.id_of, Mark))


def shown(found: list[int]) -> str:
    """Ids with special ones written out, as the family's templates print them."""
    backend = vocabulary.train(400)
    return str(backend.decode(found, skip_special_tokens=False))


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder that a checkpoint carries, read by transformers."""
    folder = tmp_path_factory.mktemp("tokenizer")
    vocabulary.build(folder, 400)
    template = (folder / "chat_template.jinja").read_text()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(folder / "tokenizer.json"), chat_template=template
    )


def test_the_form_of_tools_calls_and_results_is_the_familys() -> None:
    """Tools are XML in the system block, a call stands between its marks, two results share one turn of the user."""
    chat = Chat((User("Read it."), CALL, Result("1"), Result("2")), (TOOL,), "Be brief.")
    assert shown(prompt_ids(chat, TOKENIZER)) == (
        "<|im_start|>system\nBe brief.\n\n# Tools\n\nThese functions may be called:\n\n<tools>\n"
        "<function>\n<name>read_file</name>\n<description>Read a file.</description>\n<parameters>\n"
        "<parameter>\n<name>path</name>\n<type>string</type>\n<description>Where it is.</description>\n</parameter>\n"
        '<parameter>\n<name>tags</name>\n<type>array</type>\n<items>{"type": "string"}</items>\n</parameter>\n'
        '<parameter>\n<name>how</name>\n<type>string</type>\n<enum>["a", "b"]</enum>\n</parameter>\n'
        '<required>["path"]</required>\n</parameters>\n</function>\n</tools><|im_end|>\n'
        "<|im_start|>user\nRead it.<|im_end|>\n"
        "<|im_start|>assistant\n<think></think>\n<tool_call>\n<function=read_file>\n"
        "<parameter=path>\nsrc/a.py\n</parameter>\n"
        '<parameter=tags>\n["x", "y é"]\n</parameter>\n<parameter=how>\na\n</parameter>\n'
        "</function>\n</tool_call>\n<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>\n<|im_end|>\n"
        "<|im_start|>assistant\n<think></think>"
    )


def test_a_call_uses_the_familys_ids() -> None:
    """The marks of calls are ids 14 and 15, those of results 16 and 17."""
    assert [TOKENIZER.id_of(mark) for mark in (Mark.CALL, Mark.CALLED, Mark.RESULT, Mark.GIVEN)] == [14, 15, 16, 17]
    said = ids(TOKENIZER, spoken(CALL))
    assert [token for token in said if token in TOKENIZER.special] == [14, 15]
    asked = prompt_ids(Chat((User("x"), CALL, Result("y"))), TOKENIZER)
    assert [token for token in asked if token in range(14, 18)] == [14, 15, 16, 17]


def test_the_written_template_gives_our_ids(peer: Any) -> None:
    """Whole conversations of the corpus, rendered from a client's documents by transformers, have the very ids we train on."""
    tools = turns = 0
    for seed in range(200):
        chat = drawn(seed, Split.TRAIN, Mixture(WHOLE.parts, long=0.1)).chat
        documents = [tool.document() for tool in chat.tools] or None
        text = peer.apply_chat_template(chat.messages(), tools=documents, tokenize=False, add_generation_prompt=True)
        assert peer.encode(text, add_special_tokens=False) == prompt_ids(chat, TOKENIZER)
        tools, turns = tools + bool(documents), turns + (len(chat.turns) > 1)
    assert tools > 60 and turns > 30


def test_the_template_takes_a_call_beside_text_and_tools_without_parameters(peer: Any) -> None:
    """What our corpus never has, clients send: text before a call, several calls, a bare tool, null content."""
    calls = [{"type": "function", "function": {"name": name, "arguments": {"on": True, "n": {"a": 1}}}} for name in ("a", "b")]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "Well.", "tool_calls": calls[:1]},
        {"role": "tool", "content": "ok"},
        {"role": "assistant", "content": None, "tool_calls": calls},
    ]
    tools = [{"type": "function", "function": {"name": "bare"}}]
    text = peer.apply_chat_template(messages, tools=tools, tokenize=False)
    assert "<function>\n<name>bare</name>\n<parameters>\n</parameters>\n</function>\n</tools>" in text
    assert (
        '<think></think>Well.\n<tool_call>\n<function=a>\n<parameter=on>\nTrue\n</parameter>\n<parameter=n>\n{"a": 1}\n' in text
    )
    assert "<think></think>\n<tool_call>\n<function=a>" in text and "</tool_call>\n<tool_call>\n<function=b>" in text


def test_a_plain_conversation_is_that_of_the_tokenizer() -> None:
    """Without tools our prompts are those which the gateway renders today."""
    chat = Chat((User("a"), "b", User("c")), (), "Be brief.")
    messages = [
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.USER, "a"),
        Message(Role.ASSISTANT, "b"),
        Message(Role.USER, "c"),
    ]
    assert prompt_ids(chat, TOKENIZER) == render_chat(TOKENIZER, messages)
    assert prompt_ids(Chat((User("a"),)), TOKENIZER) == render_chat(TOKENIZER, [Message(Role.USER, "a")])


@given(TEXT, TEXT, st.sampled_from(list(Mark)))
def test_marks_inside_of_texts_are_plain_text(first: str, second: str, mark: Mark) -> None:
    """Nobody's words, names or values make a special id: their number is that of a calm conversation."""
    said = f"{first}{mark}{second}"
    tool = Tool(said, said, (Parameter(said, "string", description=said),), (said,))
    calm = Chat((User("a"), Call("b", {"c": "d"}), Result("e"), "f", User("g")), (TOOL,), "h")
    loud = Chat((User(said), Call(said, {said: said}), Result(said), said, User(said)), (tool,), said)
    marks = [[token for token in prompt_ids(chat, TOKENIZER) if token in TOKENIZER.special] for chat in (calm, loud)]
    assert marks[0] == marks[1] and set(marks[0]) <= MARKS


@given(
    st.from_regex(r"[a-zA-Z_.-]{1,20}", fullmatch=True), st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), TEXT)
)
def test_a_call_is_read_back(name: str, arguments: dict[str, str]) -> None:
    """What was printed is what is read, by way of ids, unless a value itself holds a closing tag."""
    said = heard(TOKENIZER, ids(TOKENIZER, spoken(Call(name, arguments))))
    assert read_call(said) == (name, arguments)
    assert read_call(said.replace("<tool_call>", "").replace("</tool_call>", "")) == (name, arguments)


@given(TEXT)
def test_any_text_can_be_read(text: str) -> None:
    """Reading a call never raises, and text without a function is none."""
    for said in (text, f"<function={text}", f"<tool_call>\n<function=f>\n{text}</function>\n</tool_call>"):
        found = read_call(said)
        assert found is None or "<function=" in said


def test_a_reply_is_more_than_its_call_or_less() -> None:
    """Two calls, a doubled parameter or words around a call are not one call."""
    said = "".join(spoken(CALL))
    assert read_call(said) is not None
    assert said.count("=path>") == 1
    for bad in (said * 2, f"Sure! {said}", f"{said} Done.", said.replace("path", "how")):
        assert read_call(bad) is None


def test_documents_are_what_clients_send() -> None:
    """A tool's document and a call's arguments are JSON that comes back the same."""
    told = TOOL.document()
    assert json.loads(json.dumps(told)) == told and told["function"]["parameters"]["required"] == ["path"]
    assert Chat((CALL,)).messages()[0]["tool_calls"][0]["function"]["arguments"] == CALL.arguments
    assert "".join(prompt(Chat((User("hi"),)))).startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\nhi")


def test_the_template_is_a_file_beside_the_code(tmp_path: Path) -> None:
    """Building a vocabulary writes that very file."""
    vocabulary.build(tmp_path, 400)
    assert (tmp_path / "chat_template.jinja").read_bytes() == vocabulary.CHAT_TEMPLATE.read_bytes()
