"""Ask a checkpoint held-out questions in each mode and judge its answers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import groupby
from uuid import UUID

from engine.engine import Engine
from engine.events import Finished, Output
from engine.model.checkpoint import LoadedModel
from engine.plan import Lora
from engine.request import GenerationRequest, Mode, Numeric, Sampling
from engine.train.corpus import CHARACTERS_PER_TOKEN, prompt_ids
from engine.train.execution import Verdict
from engine.train.grammar import Split, task
from engine.train.scores import BLOCK_LENGTH, THRESHOLD, Sat, Score, Setting, settings, tally
from engine.train.tasks import Exercise, Kind, exercise
from engine.train.tasks.chat import heard, ids
from engine.train.tasks.functions import of_task
from engine.train.tasks.guide import guide

__all__ = ["MODES", "answers", "exam", "questions", "score", "sit"]

GUIDED_TOKENS = 768
"""Room for the longest answer that a guide allows, so that even one that rambles comes to its end."""

MODES = tuple(mode for mode in Mode if mode is not Mode.AUTO)
DRAFTING = (Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC)
"""Modes whose drafts the drafter LoRA shapes."""
_EXAM = 7_000_000  # seeds of exam questions, far from those of training examples


def exam(count: int) -> list[Exercise]:
    """The first `count` held-out functions over one list."""
    return [of_task(task(_EXAM + n, Split.HELD_OUT)) for n in range(count)]


def questions(count: int, kinds: Sequence[Kind] = tuple(Kind), context: int = 0) -> list[Exercise]:
    """`count` held-out exercises, the kinds in turn, each amid about `context` tokens of what clients send."""
    characters = context * CHARACTERS_PER_TOKEN
    return [exercise(_EXAM + n, Split.HELD_OUT, kinds[n % len(kinds)], characters) for n in range(count)]


def sit(
    model: LoadedModel,
    exercises: Sequence[Exercise],
    asked: Sequence[Setting],
    numeric: Numeric = Numeric.STRICT,
    at_once: int = 1,
) -> Iterator[Sat]:
    """Every exercise in every setting, setting by setting; equal answers are judged once.

    So many are under way `at_once`; in strict numerics their number changes nothing but the time, which is then that of all
    together. A guided setting asks only what a guide exists for. Raises InvalidRequest for a question that the model cannot
    take.
    """
    known: dict[tuple[int, str], Verdict] = {}
    for setting in asked:
        engine = Engine(model if setting.lora is Lora.ON else bare(model), numeric)
        places = [place for place, each in enumerate(exercises) if not setting.guided or guide(each) is not None]
        answered = answers(engine, model, [exercises[place] for place in places], setting, at_once)
        for index, text, finished, seconds in answered:
            place, question = places[index], exercises[places[index]]
            if (place, text) not in known:
                known[place, text] = question.check.judge(text)
            yield Sat(setting, place, question, text, known[place, text], finished.tokens, finished.forwards, seconds)


def bare(model: LoadedModel) -> LoadedModel:
    """The same model whose drafter LoRA changes nothing."""
    network = deepcopy(model.network)
    for name, parameter in network.named_parameters():
        if name.endswith("lora_b"):
            parameter.data.zero_()
    return replace(model, network=network)


def answers(
    engine: Engine, model: LoadedModel, asked: Sequence[Exercise], setting: Setting, at_once: int = 1
) -> Iterator[tuple[int, str, Finished, float]]:
    """Ask all, so many `at_once`, and drive the engine: which question ended, its answer, and its share of the engine's seconds
    since one ended before; those that end together share alike. Compiling is excluded.

    Raises InvalidRequest when the model cannot take one.
    """
    waiting, said = deque(enumerate(asked)), dict[UUID, list[int]]()
    seconds = 0.0
    while waiting or said:
        while waiting and len(said) < at_once:
            index, question = waiting.popleft()
            request, opening = _request(engine, model, question, setting, UUID(int=index))
            engine.submit(request)
            said[request.id] = opening
        began = time.monotonic()
        events = engine.step()
        seconds += time.monotonic() - began
        ended = sum(isinstance(event, Finished) for event in events)
        for event in events:
            if isinstance(event, Output):
                said[event.generation] += event.output
            elif isinstance(event, Finished):
                yield event.generation.int, heard(model.tokenizer, said.pop(event.generation)), event, seconds / ended
        if ended:
            seconds = 0.0


def _request(
    engine: Engine, model: LoadedModel, question: Exercise, setting: Setting, name: UUID
) -> tuple[GenerationRequest, list[int]]:
    """What the engine is asked, and the ids with which a guided answer opens."""
    given = guide(question) if setting.guided else None
    opening = ids(model.tokenizer, given.opening) if given else []
    prompt = (*prompt_ids(question.chat, model.tokenizer), *opening)
    request = GenerationRequest(
        id=name,
        prompt=prompt,
        mode=setting.mode,
        modes_permitted=frozenset({setting.mode}),
        max_tokens=max(1, min(GUIDED_TOKENS if given else setting.longest, engine.longest - len(prompt))),
        sampling=Sampling(temperature=setting.temperature, seed=name.int),
        block_length=setting.block,
        threshold=setting.threshold,
        max_steps=setting.block,
        seed_first=True,
        stop_ids=frozenset({model.config.eos_token_id}),
        constraint=given.constraint if given else None,
    )
    return request, opening


def score(model: LoadedModel, exercises: Sequence[Exercise], modes: Sequence[Mode] = MODES) -> Iterator[Score]:
    """One score per mode in strict numerics, `ar` first because the others are compared with it."""
    sat: list[Sat] = []
    asked = settings(modes, (THRESHOLD,), (BLOCK_LENGTH,))
    for setting, group in groupby(sit(model, exercises, asked), lambda each: each.setting):
        sat += group
        yield next(found for found in tally(sat) if found.setting == setting and found.kind is None)
