"""Laws of the task grammar, of the corpus made from it, and of the judge of answers."""

import ast
import json
from dataclasses import replace

import pytest

from engine.tokenizer import Tokenizer
from engine.train import corpus, vocabulary
from engine.train.components import NUMBERS, WORDS, Mapped
from engine.train.execution import Outcome, extract_code, judge
from engine.train.grammar import Split, Task, compositions, split_of, task

TOKENIZER = Tokenizer(json.loads(vocabulary.train(400).to_str()))
DRAWS = 3000
SPLITS = tuple(Split)
SUM = ("all", "identity", "sum")


def run(made: Task) -> list[object]:
    """Results of the answer's own code, run in this process."""
    code = extract_code(made.answer)
    scope: dict[str, object] = {}
    exec(code or "", scope)  # noqa: S102  our own grammar wrote it
    function = scope[made.function]
    return [function(case.argument) for case in made.cases] if callable(function) else []


@pytest.mark.parametrize("split", SPLITS)
def test_every_composition_answers_its_own_cases(split: Split) -> None:
    """Code and composed callables agree on every case, and the draws reach every composition of the split."""
    seen = set()
    for seed in range(12 * len(compositions(split))):
        made = task(seed, split)
        seen.add(made.composition)
        assert run(made) == [case.expected for case in made.cases], made.answer
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
    """No draw crosses the border, and a seed always gives the same task."""
    assert all(split_of(task(seed, split).composition) is split for seed in range(DRAWS))
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
    for filters, maps, reductions in ((f.filters, f.maps, f.reductions) for f in (NUMBERS, WORDS)):
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
            caught += run(replace(other, cases=made.cases)) != [case.expected for case in made.cases]
    assert tried > 50 and caught / tried > 0.95


@pytest.mark.parametrize("split", SPLITS)
def test_an_example_is_the_prompt_then_the_answer(split: Split) -> None:
    """Ids split at the prompt length into chat prompt and answer with end of turn, within 176 tokens."""
    for seed in range(500):
        made, ready = task(seed, split), corpus.example(seed, split, TOKENIZER)
        assert ready.ids[-1] == TOKENIZER.eos_id and len(ready.ids) <= 176
        assert TOKENIZER.decode(ready.ids[ready.prompt_length :]) == made.answer
        assert ready.ids[ready.prompt_length - 1] == TOKENIZER.id_of("</think>")


def fenced(body: str) -> str:
    """A function of the given body in a fenced block."""
    return f"Here:\n```python\ndef f(xs):\n    {body}\n```"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (fenced("return sum(xs)"), Outcome.PASSED),
        (fenced("print('noise'); return sum(xs)"), Outcome.PASSED),
        (fenced("return float(sum(xs))"), Outcome.WRONG),
        (fenced("return len(xs)"), Outcome.WRONG),
        (fenced("return xs[0]"), Outcome.RAISED),
        (fenced("return sum(xs"), Outcome.RAISED),
        (fenced("return [0] * 10**9"), Outcome.RAISED),
        (fenced("import os; os._exit(0)"), Outcome.RAISED),
        (fenced("return sum(xs)").replace("def f", "def g"), Outcome.RAISED),
        (fenced("import time; time.sleep(60)"), Outcome.TIMEOUT),
        ("def f(xs): return sum(xs)", Outcome.NO_CODE),
        (fenced("return sum(xs)").removesuffix("```"), Outcome.NO_CODE),
    ],
)
def test_the_judge_names_what_happened(answer: str, outcome: Outcome) -> None:
    """Right, wrong, failing, endless and missing code each get their own outcome."""
    made = next(t for t in (task(seed, Split.TRAIN) for seed in range(5000)) if t.composition[1:] == SUM)
    verdict = judge(answer, replace(made, function="f"), timeout=2.0)
    assert verdict.outcome is outcome, verdict
    assert bool(verdict.detail) is (outcome is not Outcome.PASSED)


def test_the_judge_passes_the_grammars_own_answer() -> None:
    """The right answer of a task passes its cases."""
    for seed in range(3):
        assert judge(task(seed, Split.HELD_OUT).answer, task(seed, Split.HELD_OUT)).outcome is Outcome.PASSED
