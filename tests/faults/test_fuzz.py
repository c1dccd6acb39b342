"""Parsers of hostile bytes: some thousand mutants each, and proof that the fuzzer sees what it looks for."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import openai_chat
from gateway.dialects.request import Conversation
from gateway.errors import BadRequest
from tests.faults.feeding import MOST_SECONDS, Tally, fuzz
from tests.faults.fuzz import NAMES, all_parsers
from tests.faults.mutate import MOST_BYTES, mutated
from tests.faults.parsers import Parser

SEED = 7
INPUTS = {
    "bundle": 80,
    "anchor": 500,
    "policy": 500,
    "manifest": 800,
    "signed-note": 1500,
    "note": 2000,
    "checkpoint": 2000,
    "checked-proof": 2000,
}
"""How many each parser reads here; the others, which are quicker, read MOST_INPUTS."""

MOST_INPUTS = 4000


@pytest.fixture(scope="module")
def by_name(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parser]:
    """Every parser under its name."""
    return {parser.name: parser for parser in all_parsers(tmp_path_factory.mktemp("fuzz"))}


@pytest.mark.parametrize("name", NAMES)
def test_a_parser_refuses_in_its_own_words_or_accepts_what_is_genuine(by_name: dict[str, Parser], name: str) -> None:
    """Under mutants a parser raises its room's errors alone, within bounds, and takes nothing for what it is not."""
    most = INPUTS.get(name, MOST_INPUTS)
    tally = fuzz(by_name[name], Random(SEED), lambda so_far: so_far.inputs < most)
    assert tally.broken == {}
    assert tally.inputs >= most and tally.reasons and tally.accepted >= len(by_name[name].genuine)


def test_every_parser_has_its_name(by_name: dict[str, Parser]) -> None:
    """The names that the command line offers are those of the parsers, in order."""
    assert tuple(by_name) == NAMES


def _tally(parser: Parser, inputs: int = 3000) -> Tally:
    return fuzz(parser, Random(SEED), lambda so_far: so_far.inputs < inputs)


def _respelled(data: bytes) -> None:
    assert json.dumps(json.loads(data)).encode() == data, "another spelling"


def _index(data: bytes) -> bytes:
    return data[: data.index(b"=")] if len(data) > 3 else data


def _slow(data: bytes) -> None:
    if b"99" in data:
        ended = time.process_time() + MOST_SECONDS * 1.1
        while time.process_time() < ended:
            pass
        raise ValueError


def _greedy(data: bytes) -> bytes:
    return bytes(4_000_000) if len(data) < 100 else b""


@pytest.mark.parametrize(
    ("read", "refusals", "law"),
    [
        (_respelled, (ValueError,), "AssertionError: another spelling"),
        (_index, (KeyError,), "ValueError: subsection not found"),
        (_greedy, (ValueError,), "an input of this length took too much memory"),
        (json.loads, (KeyError,), "JSONDecodeError"),
    ],
)
def test_the_fuzzer_finds_what_is_planted(read: Any, refusals: tuple[type[Exception], ...], law: str) -> None:
    """A second spelling that passes, a foreign error and a waste of memory are found within some thousand mutants."""
    tally = _tally(Parser("planted", (b'{"a": 12}', b'{"b": "c=d"}'), read, refusals))
    assert any(found.startswith(law) for found in tally.broken), tally.broken.keys()


def test_the_fuzzer_notices_a_slow_input_and_a_refused_genuine_one() -> None:
    """An input over the bound of time is named, and so are a genuine input that is refused and a hostile one that is not."""
    slow = fuzz(Parser("slow", (b"1",), _slow, (ValueError,), hostile=(b"99",)), Random(SEED), lambda _: False)
    assert set(slow.broken) == {"an input took too long"}
    wrong = fuzz(Parser("wrong", (b"x",), json.loads, (ValueError,), hostile=(b"1",)), Random(SEED), lambda _: False)
    assert set(wrong.broken) == {"a genuine input was refused", "a hostile input was accepted"}


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4), st.integers())
def test_a_mutant_is_bounded_and_repeatable(inputs: list[bytes], seed: int) -> None:
    """A mutant has at most 64 KiB, and the same seed makes the same one."""
    made = mutated(Random(seed), inputs)
    assert len(made) <= MOST_BYTES and made == mutated(Random(seed), inputs)


FIELDS = ("model", "messages", "stream", "seed", "max_tokens", "temperature", "stop", "palimpsest", "response_format", "role",
          "content", "type", "text", "mode", "threshold", "regex", "logit_bias", "n", "top_logprobs", "tools")  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["user", "text", "m"])
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
)


@given(st.dictionaries(st.sampled_from(FIELDS), DOCUMENTS, max_size=8))
def test_any_document_is_a_chat_request_or_a_bad_one(document: dict[str, Any]) -> None:
    """JSON of the right field names and any values decodes to a request whose record is verbatim, or is refused as bad."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]} | document).encode()
    with suppress(BadRequest):
        asked = openai_chat.decode(body)
        assert asked.prompt_json.encode() in body and isinstance(asked.prompt, Conversation) and asked.prompt.turns
