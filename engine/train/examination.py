"""`palimpsest eval` as it runs: the questions, the sitting with its progress, the table, and the document for a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from engine.errors import InvalidRequest
from engine.model.checkpoint import LoadedModel, load
from engine.numeric import arithmetic, dtype_name
from engine.plan import Lora
from engine.request import Mode, Numeric
from engine.train.corpus import prompt_ids
from engine.train.evaluate import DRAFTING, questions, sit
from engine.train.execution import require_jail
from engine.train.scores import MAX_TOKENS, Sat, Score, Setting, settings, tally
from engine.train.tasks import Exercise, Kind
from engine.train.tasks.checks import CodeCheck
from engine.train.tasks.guide import guide


class Again(StrEnum):
    """What is asked a second time: calls and JSON held to their form, drafts without the drafter LoRA, or drafts at
    temperature 1 with the LoRA and without it.
    """

    GUIDED = "grammar"
    BARE = "bare"
    SAMPLED = "sampled"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; `context` is about how many tokens surround each question, `at_once` how many are under way."""

    checkpoint: Path
    modes: Sequence[Mode]
    thresholds: Sequence[float]
    blocks: Sequence[int]
    kinds: Sequence[Kind]
    count: int
    context: int
    again: frozenset[Again]
    numeric: Numeric
    at_once: int = 1


def run(wish: Wish, console: Console) -> dict[str, Any]:
    """The whole examination, with progress and a table on `console`; returns the document.

    Raises CheckpointError, InvalidRequest or JailUnavailable when it cannot be held as it was asked for.
    """
    model = load(wish.checkpoint)
    exercises = _fitting(model, questions(wish.count, wish.kinds, wish.context))
    if left_out := wish.count - len(exercises):
        console.print(f"left out {left_out} questions that are longer than the model's context")
    if any(isinstance(exercise.check, CodeCheck) for exercise in exercises):
        require_jail()  # rather than at the first answer that is code
    scores = tally(_sit(model, exercises, wish, console))
    console.print(_table(scores))
    return _document(wish, model, scores) | {"left_out": left_out}


def _asked(wish: Wish) -> list[Setting]:
    """Every setting once as it is, and again as wished where that can make a difference."""
    plain = settings(wish.modes, wish.thresholds, wish.blocks)
    asked = list(plain)
    if Again.GUIDED in wish.again:
        asked += [replace(setting, guided=True) for setting in plain if setting.mode is not Mode.DIFFUSION]
    if Again.BARE in wish.again:
        asked += [replace(setting, lora=Lora.OFF) for setting in plain if setting.mode in DRAFTING]
    if Again.SAMPLED in wish.again:
        drawn = [replace(setting, temperature=1.0) for setting in plain if setting.mode is not Mode.DIFFUSION]
        asked += drawn + [replace(setting, lora=Lora.OFF) for setting in drawn if setting.mode in DRAFTING]
    return asked


def _fitting(model: LoadedModel, exercises: Sequence[Exercise]) -> list[Exercise]:
    """Those whose question and longest answer the model can hold. Raises InvalidRequest when there are none."""
    room = model.config.max_position_embeddings - MAX_TOKENS
    found = [exercise for exercise in exercises if len(prompt_ids(exercise.chat, model.tokenizer)) <= room]
    if not found:
        raise InvalidRequest(f"no question fits into {room} tokens: ask for less context")
    return found


def _sit(model: LoadedModel, exercises: Sequence[Exercise], wish: Wish, console: Console) -> list[Sat]:
    asked = _asked(wish)
    columns = (
        TextColumn("{task.description:<38}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[correct]} correct"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    formed = sum(guide(exercise) is not None for exercise in exercises)
    total = sum(formed if setting.guided else len(exercises) for setting in asked)
    sat: list[Sat] = []
    # Drawn between questions only: a thread that draws would take its share of the clock.
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        bar, correct = progress.add_task("", total=total, correct=0), 0
        for each in sit(model, exercises, asked, wish.numeric, wish.at_once):
            sat.append(each)
            correct += not each.verdict.detail
            progress.update(bar, advance=1, description=_called(each.setting), correct=correct, refresh=True)
    return sat


def _called(setting: Setting) -> str:
    words: list[str] = [setting.mode]
    if setting.mode is not Mode.AR:
        words.append(f"block {setting.block}")
    if setting.mode is Mode.DIFFUSION:
        words.append(f"at {setting.threshold:g}")
    words += ["guided"] * setting.guided + ["bare"] * (setting.lora is Lora.OFF)
    if setting.temperature:
        words.append(f"drawn at {setting.temperature:g}")
    return " ".join(words)


def _table(scores: Sequence[Score]) -> Table:
    made = Table(
        Column("setting", no_wrap=True),
        "kind",
        *(Column(name, justify="right") for name in ("n", "correct", "usable", "as ar", "tokens/pass", "tokens/s")),
        title="held-out questions: correct, usable and same as ar in percent",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for each in scores:
        made.add_row(
            _called(each.setting) if each.kind is None else "",
            each.kind or "all",
            str(each.questions),
            *(_percent(count, each) for count in (each.correct, each.usable, each.same_as_ar)),
            f"{each.tokens_per_forward:.2f}",
            f"{each.tokens / each.seconds:.0f}",
            style="bold" if each.kind is None else "",
        )
    return made


def _percent(count: int | None, score: Score) -> str:
    return "-" if count is None else f"{100 * count / score.questions:.1f}"


def _document(wish: Wish, model: LoadedModel, scores: Sequence[Score]) -> dict[str, Any]:
    return {
        "model": model.name,
        "weights_digest": model.weights_digest,
        "numeric": wish.numeric.value,
        "dtype": dtype_name(arithmetic(wish.numeric).dtype),
        "threads": torch.get_num_threads(),
        "torch": version("torch"),
        "count": wish.count,
        "context": wish.context,
        "concurrency": wish.at_once,
        "rows": [_row(each) for each in scores],
    }


def _row(each: Score) -> dict[str, Any]:
    told = asdict(each)
    setting = told.pop("setting")
    known: dict[str, Any] = {"mode": each.mode.value, "guided": each.setting.guided, "lora": each.setting.lora.name.lower()}
    known["block"] = None if each.mode is Mode.AR else setting["block"]
    known["threshold"] = setting["threshold"] if each.mode is Mode.DIFFUSION else None
    known["temperature"] = setting["temperature"]
    told["kind"] = each.kind.value if each.kind else "all"
    return known | told | {
        "tokens_per_forward": round(each.tokens_per_forward, 4),
        "tokens_per_second": round(each.tokens / each.seconds, 1),
    }  # fmt: skip
