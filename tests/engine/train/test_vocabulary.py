"""Laws of the vocabulary: the family's layout, and a corpus that it says in few tokens."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from statistics import mean

import pytest
from tokenizers import Tokenizer as Backend

from engine.config import CheckpointError
from engine.tokenizer import Tokenizer
from engine.train import vocabulary
from engine.train.corpus import Mixture, example
from engine.train.grammar import Split
from engine.train.tasks import Kind
from tests.engine.harness import tokenizer
from tests.engine.small import TINY

AIM = {Kind.FUNCTION: 210, Kind.TOOL: 300, Kind.TURNS: 340, Kind.EDIT: 230, Kind.JSON: 195}
"""Tokens of a short example on average; measured 188, 273, 309, 212 and 176 with the usual number of tasks."""


@pytest.mark.parametrize("kind", tuple(Kind))
def test_an_example_takes_few_tokens(kind: Kind) -> None:
    """The vocabulary knows the words of every kind, in the exam as in training."""
    for split in Split:
        ready = [example(seed, split, tokenizer(), Mixture(((kind, 1),))) for seed in range(150)]
        assert mean(len(each.ids) for each in ready) < AIM[kind]


@pytest.mark.parametrize("size", [1024, 1536, 2048])
def test_any_size_has_the_familys_layout(size: int) -> None:
    """Reserved strings come first, then the bytes, then merges, up to exactly the wanted size."""
    made = Tokenizer(json.loads(vocabulary.train(1500, size).to_str()))
    assert made.size == size and made.special == frozenset(range(128))
    assert [made.id_of(text) for text in vocabulary.reserved()] == list(range(128))
    assert sorted(made.decode_bytes([rank]) for rank in range(128, 384)) == [bytes([byte]) for byte in range(256)]


def test_tags_are_one_token_and_digits_stand_alone() -> None:
    """What the form repeats is cheap, and numbers are copied digit by digit."""
    for tag in ("</name>", "\n<parameter>", "\n</parameter>", "\n</function>"):
        assert len(tokenizer().encode(f"x{tag}x")) == 3
    assert len(tokenizer().encode("90210")) == 5


@pytest.mark.parametrize("word", ["notes", "plirplux", "transfer_package", "459", "IndexError"])
def test_a_word_is_the_same_ids_wherever_it_stands(word: str) -> None:
    """Behind a space, a quote, a tag, a line break or an underscore: what is copied is copied id by id."""
    alone = tokenizer().encode(word)
    for before in (" ", '"', "<name>", "\n", "x_", " ("):
        assert tokenizer().encode(before + word)[-len(alone) :] == alone


def test_too_few_tasks_are_an_error() -> None:
    """A vocabulary that would come out smaller than asked for is refused."""
    with pytest.raises(CheckpointError, match="train on more"):
        vocabulary.train(3)


def test_a_disk_that_takes_no_vocabulary_is_an_error_of_the_system(tmp_path: Path) -> None:
    """One that is full or may only be read is told as every other file's is, and no half of a vocabulary is left."""
    made = Backend.from_file(str(TINY / "tokenizer.json"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="large"):
            vocabulary.write(made, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
    vocabulary.write(made, tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (TINY / "tokenizer.json").read_bytes()
