"""How a sitting is counted: the settings in which questions are asked, each answer, and totals per setting and kind.

Tokens per forward of a set is the sum of tokens over the sum of forwards; a forward is any network pass after prefill.
Correct means that the answer's code was executed and passed every hidden case, or that its call, JSON or sentence is the right
one; usable, that a program could have read it; exact, that it is the corpus's own answer, character by character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from engine.plan import Lora
from engine.request import Mode
from engine.train.execution import Outcome, Verdict
from engine.train.tasks import Exercise, Kind
from engine.train.tasks.chat import spoken
from engine.train.tasks.checks import USABLE

BLOCK_LENGTH = 16
QUADRATIC_BLOCK = 8
THRESHOLD = 0.9
MAX_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Setting:
    """How answers are decoded; `guided` holds calls and JSON to their form by the engine's constraint.

    `lora` is that of the drafter; `longest` is how many tokens an answer may have, and a guided one always has room to come
    to its end; at `temperature` 0 decoding is greedy.
    """

    mode: Mode
    block: int = BLOCK_LENGTH
    threshold: float = THRESHOLD
    guided: bool = False
    lora: Lora = Lora.ON
    longest: int = MAX_TOKENS
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Sat:
    """One question as it was answered; `place` is its number in the exam."""

    setting: Setting
    place: int
    exercise: Exercise
    text: str
    verdict: Verdict
    tokens: int
    forwards: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Score:
    """Totals of one setting over questions of one kind, or over all; `same_as_ar` is None where `ar` was not asked at its
    temperature.
    """

    setting: Setting
    kind: Kind | None
    questions: int
    usable: int
    correct: int
    exact: int
    same_as_ar: int | None
    tokens: int
    forwards: int
    seconds: float

    @property
    def mode(self) -> Mode:
        """The setting's mode."""
        return self.setting.mode

    @property
    def tokens_per_forward(self) -> float:
        """Sum of tokens over sum of forwards."""
        return self.tokens / max(1, self.forwards)


def settings(modes: Sequence[Mode], thresholds: Sequence[float], blocks: Sequence[int]) -> list[Setting]:
    """Every setting that differs: `ar` knows no block and only `diffusion` a threshold; `quadratic_spec` goes up to 8."""
    found: dict[Setting, None] = {}
    for mode in sorted(modes, key=lambda mode: mode is not Mode.AR):
        for block in blocks if mode is not Mode.AR else (BLOCK_LENGTH,):
            length = min(block, QUADRATIC_BLOCK) if mode is Mode.QUADRATIC_SPEC else block
            for threshold in thresholds if mode is Mode.DIFFUSION else (THRESHOLD,):
                found[Setting(mode, length, threshold)] = None
    return list(found)


def tally(sat: Sequence[Sat]) -> list[Score]:
    """One score per setting over all, and one per kind if there are several; in the order of the sitting."""
    reference = {
        (each.setting.temperature, each.place): each.text
        for each in sat
        if each.setting.mode is Mode.AR and not each.setting.guided
    }
    scores = []
    for setting, group in groupby(sat, lambda each: each.setting):
        own = list(group)
        kinds = [kind for kind in Kind if any(each.exercise.kind is kind for each in own)]
        scores.append(_score(setting, None, own, reference))
        if len(kinds) > 1:
            scores += [_score(setting, k, [each for each in own if each.exercise.kind is k], reference) for k in kinds]
    return scores


def _score(setting: Setting, kind: Kind | None, own: Sequence[Sat], reference: dict[tuple[float, int], str]) -> Score:
    known = [reference.get((setting.temperature, each.place)) for each in own]
    return Score(
        setting=setting,
        kind=kind,
        questions=len(own),
        usable=sum(each.verdict.outcome in USABLE for each in own),
        correct=sum(each.verdict.outcome is Outcome.PASSED for each in own),
        exact=sum(_exact(each) for each in own),
        same_as_ar=None if None in known else sum(each.text == text for each, text in zip(own, known, strict=True)),
        tokens=sum(each.tokens for each in own),
        forwards=sum(each.forwards for each in own),
        seconds=sum(each.seconds for each in own),
    )


def _exact(each: Sat) -> bool:
    return each.text == "".join(spoken(each.exercise.answer))
