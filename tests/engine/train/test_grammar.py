"""Laws of the task grammar: its splits, its answers and its hidden cases."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from engine.train.components import NUMBER_TABLES, NUMBERS, WORD_TABLES, WORDS, Mapped
from engine.train.execution import extract_code
from engine.train.grammar import Split, compositions, split_of, task
from tests.engine.train.made import run

DRAWS = 3000
SPLITS = tuple(Split)
FAMILIES = (NUMBERS, WORDS, NUMBER_TABLES, WORD_TABLES)


@pytest.mark.parametrize("split", SPLITS)
def test_every_composition_answers_its_own_cases(split: Split) -> None:
    """Code and composed callables agree on every case, and the draws reach every composition of the split."""
    seen = set()
    for seed in range(12 * len(compositions(split))):
        made = task(seed, split)
        seen.add(made.composition)
        assert run(made.answer, made.function, made.cases) == [case.expected for case in made.cases], made.answer
    assert seen == set(compositions(split))


def test_the_splits_share_no_composition() -> None:
    """Training and held-out compositions are disjoint and cover the grammar; 15 percent are held out."""
    train, held_out = set(compositions(Split.TRAIN)), set(compositions(Split.HELD_OUT))
    total = 0
    for filters, maps, reductions in ((f.filters, f.maps, f.reductions) for f in (NUMBERS, WORDS)):
        blind = sum(1 for reduction in reductions if reduction.mapped is Mapped.BLIND)
        total += len(filters) * (len(maps) * (len(reductions) - blind) + blind)
    assert not train & held_out and len(train | held_out) == total
    assert 0.12 < len(held_out) / total < 0.18


@pytest.mark.parametrize("split", SPLITS)
def test_a_task_belongs_to_the_split_it_was_drawn_from(split: Split) -> None:
    """No draw crosses the border, neither by composition nor by the function's name, and a seed gives the same task."""
    for seed in range(DRAWS):
        made = task(seed, split)
        assert split_of(made.composition) is split
        assert split_of(("function", *made.function.split("_"))) is split
    assert task(7, split) == task(7, split)


def test_every_component_of_a_held_out_task_is_trained() -> None:
    """Held-out compositions are new combinations of components that training has shown."""
    train = compositions(Split.TRAIN)
    for key in compositions(Split.HELD_OUT):
        assert all(any(other[0] == key[0] and other[i] == key[i] for other in train) for i in range(1, 4))


def test_one_prompt_has_one_answer() -> None:
    """The same prompt never asks for two answers, and a clause belongs to one component."""
    answers: dict[str, str] = {}
    for seed in range(DRAWS):
        made = task(seed, Split.TRAIN)
        assert answers.setdefault(made.prompt, made.answer) == made.answer
    for filters, maps, reductions in ((f.filters, f.maps, f.reductions) for f in FAMILIES):
        clauses = [clause for part in (*filters, *maps, *reductions) for clause in part.clauses]
        assert len(clauses) == len(set(clauses))


def test_the_prompt_names_what_the_answer_needs() -> None:
    """Function and parameter names of the answer are given in the prompt."""
    for seed in range(300):
        made = task(seed, Split.TRAIN)
        definition = ast.parse(extract_code(made.answer) or "").body[0]
        assert isinstance(definition, ast.FunctionDef) and definition.name == made.function
        assert made.function in made.prompt and definition.args.args[0].arg in made.prompt
        assert ast.get_docstring(definition)


def test_cases_tell_components_apart() -> None:
    """An answer to another composition fails: hidden cases catch nearly every wrong component."""
    caught = tried = 0
    for seed in range(200):
        made, other = task(seed, Split.TRAIN), task(seed + 1000, Split.TRAIN)
        if made.composition[0] == other.composition[0] and made.composition != other.composition:
            tried += 1
            swapped = replace(other, cases=made.cases)
            caught += run(swapped.answer, swapped.function, made.cases) != [case.expected for case in made.cases]
    assert tried > 50 and caught / tried > 0.95
