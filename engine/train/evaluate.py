"""Ask a checkpoint held-out questions in each mode, run its answers, and write the card that ships beside the weights.

Tokens per forward of a set is the sum of tokens over the sum of forwards; a forward is any network pass after prefill.
Correct means that the answer's code was executed and passed every hidden case; exact, that it is the grammar's own answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from engine.engine import Engine
from engine.events import Finished, Output
from engine.model.checkpoint import LoadedModel
from engine.request import GenerationRequest, Mode, Sampling
from engine.tokenizer import Message, Role
from engine.train.execution import Outcome, judge
from engine.train.grammar import Split, Task, task
from engine.train.trainer import Recipe

BLOCK_LENGTH = 16
THRESHOLD = 0.9
MAX_TOKENS = 160
MODES = tuple(mode for mode in Mode if mode is not Mode.AUTO)
_EXAM = 7_000_000  # seeds of exam questions, far from those of training examples


@dataclass(frozen=True, slots=True)
class Score:
    """Totals of one mode over the exam."""

    mode: Mode
    questions: int
    correct: int
    exact: int
    same_as_ar: int
    tokens: int
    forwards: int
    seconds: float

    @property
    def tokens_per_forward(self) -> float:
        """Sum of tokens over sum of forwards."""
        return self.tokens / self.forwards


@dataclass(frozen=True, slots=True)
class Answer:
    """One finished generation, reduced to what a score needs."""

    text: str
    tokens: int
    forwards: int


def exam(count: int) -> list[Task]:
    """The first `count` held-out questions."""
    return [task(_EXAM + n, Split.HELD_OUT) for n in range(count)]


def answer(engine: Engine, model: LoadedModel, question: Task, mode: Mode, seed: int = 0) -> Answer:
    """Ask one question at temperature 0 and drive the engine until it is answered."""
    prompt = model.tokenizer.render_chat([Message(Role.USER, question.prompt)])
    engine.submit(
        GenerationRequest(
            id=UUID(int=seed),
            prompt=tuple(prompt),
            mode=mode,
            modes_permitted=frozenset({mode}),
            max_tokens=MAX_TOKENS,
            sampling=Sampling(temperature=0.0, seed=0),
            block_length=8 if mode is Mode.QUADRATIC_SPEC else BLOCK_LENGTH,
            threshold=THRESHOLD,
            max_steps=BLOCK_LENGTH,
            seed_first=True,
            stop_ids=frozenset({model.config.eos_token_id}),
        )
    )
    ids: list[int] = []
    while True:
        for event in engine.step():
            if isinstance(event, Output):
                ids += event.output
            elif isinstance(event, Finished):
                return Answer(model.tokenizer.decode(ids), event.tokens, event.forwards)


def score(model: LoadedModel, questions: Sequence[Task], modes: Sequence[Mode] = MODES) -> Iterator[Score]:
    """One score per mode, `ar` first because the others are compared with it."""
    reference: list[str] = []
    for mode in sorted(modes, key=lambda mode: mode is not Mode.AR):
        engine, began = Engine(model), time.monotonic()
        answers = [answer(engine, model, question, mode) for question in questions]
        seconds = time.monotonic() - began
        texts = [given.text for given in answers]
        reference = reference or texts
        verdicts = [judge(text, question) for text, question in zip(texts, questions, strict=True)]
        yield Score(
            mode=mode,
            questions=len(questions),
            correct=sum(verdict.outcome is Outcome.PASSED for verdict in verdicts),
            exact=sum(text == question.answer for text, question in zip(texts, questions, strict=True)),
            same_as_ar=sum(text == first for text, first in zip(texts, reference, strict=True)),
            tokens=sum(given.tokens for given in answers),
            forwards=sum(given.forwards for given in answers),
            seconds=seconds,
        )


def write_card(folder: Path, model: LoadedModel, recipe: Recipe, scores: Sequence[Score]) -> None:
    """Write `folder/README.md`: what the checkpoint is, how it was made, and what it scored."""
    rows = [
        f"| `{s.mode}` | {s.correct}/{s.questions} | {s.exact}/{s.questions} | {s.same_as_ar}/{s.questions} | "
        f"{s.tokens_per_forward:.2f} | {s.tokens / s.seconds:.0f} |"
        for s in scores
    ]
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    (folder / "README.md").write_text(_CARD.format(
        parameters=parameters / 1e6,
        digest=model.weights_digest,
        causal=recipe.causal_steps,
        joint=recipe.joint_steps,
        batch=recipe.batch,
        seed=recipe.seed,
        block=BLOCK_LENGTH,
        threshold=THRESHOLD,
        table="\n".join(rows),
    ), encoding="utf-8")  # fmt: skip


_CARD = """# palimpsest-tiny

A {parameters:.1f} M-parameter checkpoint of the Nemotron-Labs-Diffusion architecture, in the family's exact file layout,
trained from scratch by this project so that every claim can be tried on a laptop. It writes small Python functions over
lists of integers or strings from English requests, and nothing else. Licence: Apache-2.0, like the code.

* **Data**: made by `engine/train/grammar.py`; compositions of filter, map and reduction whose hash falls into the held-out
  share were never generated for training. No outside data.
* **Command**: `palimpsest train --causal-steps {causal} --joint-steps {joint} --batch {batch} --seed {seed} --out DIR`
* **Seed**: {seed}. Weights digest (SHA-256): `{digest}`
* **Stages**: {causal} autoregressive steps, then {joint} joint steps; half of the blocks in draft form (first token known, the
  rest masked), 15 % wholly masked, the rest with a mask ratio drawn per block; the mean of both losses.
* **Drafter LoRA**: present in the layout, B = 0, so it changes nothing yet.
* **Context**: 1,024 positions are served; trained on conversations of up to about 140 tokens.

Held-out exam, greedy, float32, strict numerics, block {block} (8 for `quadratic_spec`), threshold {threshold} for `diffusion`:

| mode | executed correct | exact | same text as `ar` | tokens per forward | tokens/s (this run) |
|---|---|---|---|---|---|
{table}

Tokens per forward = sum of tokens / sum of forwards; a forward is every network pass after prefill, drafts, denoising,
verification and commits alike. Tokens/s is of one machine and one run, and stands here for scale only.
"""
