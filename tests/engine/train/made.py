"""What several tests of the corpus need: its right answers, and the quick way to run code that our own grammar wrote."""

from __future__ import annotations

from collections.abc import Sequence

from engine.train.execution import extract_code
from engine.train.grammar import Case
from engine.train.tasks import Exercise
from engine.train.tasks.chat import spoken

SEEDS = range(600)


def run(answer: str, function: str, cases: Sequence[Case]) -> list[object]:
    """Results of an answer's code, run in this process."""
    scope: dict[str, object] = {}
    exec(extract_code(answer) or "", scope)  # noqa: S102  our own grammar wrote it
    made = scope[function]
    if not callable(made):
        return []
    return [
        made(**dict(zip(case.names, case.arguments, strict=True))) if case.names else made(*case.arguments) for case in cases
    ]


def reply(exercise: Exercise) -> str:
    """The right answer as it would be heard."""
    return "".join(spoken(exercise.answer))
