"""The exactness run: what `strict` promises, over hundreds of requests on the trained checkpoint.

    python -m tests.bench.exact [--json FILE] [--requests 200] [--prompts 200] [--threads 2]

First, requests of every mode, block length, temperature and gate share one engine; then they share one whose page pool is too
small for them, so that they preempt one another; then each runs alone in an engine of its own, and the tokens are compared.

Second, the three causal modes answer the same prompts, sampled and not, free and under a JSON schema, and the texts are
compared. Every second question has its words shuffled: the model is unsure of these, so drafts fail and samples differ from the
greedy text. Exit status 0 if nothing differs that should not, and nothing failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.engine import Engine
from engine.events import (
    Admitted,
    BlockDecoded,
    Event,
    Finished,
    FinishReason,
    Gated,
    Noted,
    NoteKind,
    Prefilled,
    RunDecoded,
    SpecRound,
)
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.model.checkpoint import LoadedModel, load
from engine.numeric import STRICT
from engine.request import CAUSAL_MODES, Constraint, ConstraintKind, GenerationRequest, Mode, Sampling
from engine.scheduler import Capacity
from engine.train.grammar import Split, task
from engine.train.messages import Role
from gateway.json_file import write_json
from tests.engine.chat_format import Message, render_chat
from tests.engine.harness import asked
from tests.engine.small import TINY

ROOMY = Capacity(waiting=4096)
SMALL = Capacity(pages=32, running=32, waiting=4096, rows=512)
"""Answers of some hundred tokens soon outgrow these 1,024 positions together: the youngest are preempted."""

BLOCKS = (8, 16, 32)
TEMPERATURES = (0.0, 0.7, 1.0)
TOP_P = 0.9
PERMITTED = frozenset(Mode) - {Mode.AUTO}

SCHEMA = Constraint(
    ConstraintKind.JSON_SCHEMA,
    json.dumps(
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 24},
                "kind": {"enum": ["filter", "map", "reduction"]},
                "lines": {"type": "integer", "minimum": 0, "maximum": 99},
                "pure": {"type": "boolean"},
            },
            "required": ["name", "kind", "lines", "pure"],
            "additionalProperties": False,
        }
    ),
)


def judge(facts: BlockFacts) -> Ruling:
    """A gate that asks for everything that can be asked: refine, decode again, hold; a pure function of the figures."""
    if facts.mode != Mode.DIFFUSION:
        return Ruling(Verdict.HOLD if facts.logprob_min < -1 else Verdict.ACCEPT)
    if facts.attempt == 0 and (facts.confidence_min or 0.0) < 0.97:
        return Ruling(Verdict.REFINE, "unsure", threshold=0.97, steps=4)
    return Ruling(Verdict.REDO_AR if (facts.agreement or 0.0) < 1 else Verdict.ACCEPT)


GATE = Gate(judge, frozenset({Verdict.ACCEPT, Verdict.REFINE, Verdict.REDO_AR, Verdict.HOLD}))


def question(place: int) -> str:
    """A held-out question; every second one is its own words in some order."""
    words = task(8_000_000 + place, Split.HELD_OUT).prompt.split(" ")
    if place % 2:
        Random(place).shuffle(words)
    return " ".join(words)


def varied(given: LoadedModel, number: int, most: int = 320) -> GenerationRequest:
    """Request `number` of an endless mixed load: the number decides everything but the id; four ask each question.

    Every second one has no stop id and goes on to its `max_tokens`, at most `most`, beyond what the model was trained on.
    """
    random = Random(number)
    prompt = render_chat(given.tokenizer, [Message(Role.USER, question(number // 4))])
    request = asked(
        random.choice(list(Mode)),
        prompt,
        random.randint(most // 4, most),
        block=random.choice(BLOCKS),
        stop=(given.config.eos_token_id,) if random.random() < 0.5 else (),
        modes_permitted=PERMITTED,
        threshold=random.choice((None, 0.7, 0.9, 0.99)),
        seed_first=random.random() < 0.5,
        gate=GATE if random.random() < 0.5 else None,
    )
    return replace(request, sampling=Sampling(random.choice(TEMPERATURES), number, top_p=random.choice((1.0, TOP_P))))


@dataclass(slots=True)
class Heard:
    """What a run said, as far as it is compared or counted."""

    ids: dict[UUID, list[int]] = field(default_factory=dict)
    reasons: Counter[FinishReason] = field(default_factory=Counter)
    notes: Counter[NoteKind] = field(default_factory=Counter)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    modes: Counter[Mode] = field(default_factory=Counter)
    prefix_hits: int = 0
    cached_tokens: int = 0

    def read(self, event: Event) -> None:
        """Take one event in."""
        match event:
            case Admitted():
                self.modes[event.request.mode] += 1
            case BlockDecoded() | SpecRound() | RunDecoded():
                self.ids.setdefault(event.generation, []).extend(event.output)
            case Finished():
                self.reasons[event.reason] += 1
            case Noted():
                self.notes[event.note] += 1
            case Gated():
                self.verdicts[event.verdict] += 1
            case Prefilled() if event.cached:
                self.prefix_hits += 1
                self.cached_tokens += event.cached
            case _:
                pass


def hear(engine: Engine, requests: Iterable[GenerationRequest], ended: Callable[[], None] = lambda: None) -> Heard:
    """Run `requests` together to their end; `ended` is called at the end of each."""
    for request in requests:
        engine.submit(request)
    heard = Heard()
    while not engine.idle():
        for event in engine.step():
            heard.read(event)
            if isinstance(event, Finished):
                ended()
    return heard


def differences(first: Sequence[int], second: Sequence[int]) -> int:
    """Positions at which two answers differ; a missing token differs from any."""
    return sum(mine != other for mine, other in zip_longest(first, second))


@dataclass(frozen=True, slots=True)
class Ticker:
    """A bar on the terminal, one tick per generation."""

    progress: Progress

    def start(self, name: str, total: int) -> Callable[[], None]:
        """A new bar; the result moves it on by one."""
        bar = self.progress.add_task(name, total=total)
        return lambda: self.progress.advance(bar)


def mixed_against_alone(given: LoadedModel, count: int, ticker: Ticker) -> list[dict[str, Any]]:
    """The first law, in a large and in a small engine: every request's tokens are the same in a crowd as alone."""
    requests = [varied(given, number) for number in range(count)]
    crowds = {
        name: hear(Engine(given, STRICT, capacity), requests, ticker.start(f"mixed, in one {name} engine", count))
        for name, capacity in {"roomy": ROOMY, "small": SMALL}.items()
    }
    tick = ticker.start("each alone, in a fresh engine", count)
    alone: dict[UUID, list[int]] = {}
    for request in requests:
        alone |= hear(Engine(given, STRICT, ROOMY), [request], tick).ids
    return [_compared(name, crowd, alone) for name, crowd in crowds.items()]


def _compared(name: str, crowd: Heard, alone: dict[UUID, list[int]]) -> dict[str, Any]:
    apart = [differences(crowd.ids.get(generation, []), ids) for generation, ids in alone.items()]
    return {
        "engine": name,
        "requests": len(alone),
        "tokens": sum(map(len, alone.values())),
        "differing_tokens": sum(apart),
        "differing_requests": sum(map(bool, apart)),
        "preemptions": crowd.notes[NoteKind.PREEMPTED],
        "prefix_hits": crowd.prefix_hits,
        "prefix_tokens": crowd.cached_tokens,
        "verdicts": {verdict.value: crowd.verdicts[verdict] for verdict in Verdict},
        "modes": {mode.value: crowd.modes[mode] for mode in Mode},
        "reasons": _named(crowd.reasons),
    }


def causal_modes_agree(
    given: LoadedModel, count: int, temperature: float, constraint: Constraint | None, ticker: Ticker
) -> dict[str, Any]:
    """The second law, under one condition: `ar`, `linear_spec` and `quadratic_spec` write the same."""
    name = f"T {temperature:g}{', JSON schema' if constraint else ''}"
    tick = ticker.start(f"ar = linear = quadratic at {name}", count * len(CAUSAL_MODES))
    answers: dict[Mode, list[list[int]]] = {}
    reasons: Counter[FinishReason] = Counter()
    for mode in CAUSAL_MODES:
        requests = [plain(given, mode, place, temperature, constraint) for place in range(count)]
        heard = hear(Engine(given, STRICT, ROOMY), requests, tick)
        answers[mode] = [heard.ids.get(request.id, []) for request in requests]
        reasons += heard.reasons
    trios = list(zip(*(answers[mode] for mode in CAUSAL_MODES), strict=True))
    texts = [{given.tokenizer.decode_bytes(ids) for ids in trio} for trio in trios]
    return {
        "temperature": temperature,
        "top_p": TOP_P,
        "json_schema": constraint is not None,
        "prompts": count,
        "tokens": sum(map(len, answers[Mode.AR])),
        "differing_texts": sum(len(found) > 1 for found in texts),
        "differing_tokens": sum(differences(trio[0], other) for trio in trios for other in trio[1:]),
        "distinct_texts": len(set().union(*texts)),
        "output_digest": _digest(answers[Mode.AR]),
        "reasons": _named(reasons),
    }


def plain(given: LoadedModel, mode: Mode, place: int, temperature: float, constraint: Constraint | None) -> GenerationRequest:
    """Prompt `place` in one of the causal modes; linear blocks change from prompt to prompt, quadratic ones stay at 8."""
    request = asked(
        mode,
        render_chat(given.tokenizer, [Message(Role.USER, question(place))]),
        96,
        block=BLOCKS[place % 3] if mode is Mode.LINEAR_SPEC else 8,
        stop=(given.config.eos_token_id,),
        modes_permitted=PERMITTED,
        constraint=constraint,
    )
    return replace(request, sampling=Sampling(temperature, place, top_p=TOP_P))


def _digest(answers: Sequence[Sequence[int]]) -> str:
    """One short name for all answers: conditions whose digests are equal gave the same answers."""
    return hashlib.sha256(repr([list(ids) for ids in answers]).encode()).hexdigest()[:16]


def _named(reasons: Counter[FinishReason]) -> dict[str, int]:
    return {reason.value: count for reason, count in sorted(reasons.items())}


def measure(given: LoadedModel, requests: int, prompts: int, ticker: Ticker) -> dict[str, Any]:
    """Both laws, as JSON."""
    mixed = mixed_against_alone(given, requests, ticker)
    modes = [
        causal_modes_agree(given, prompts, temperature, constraint, ticker)
        for constraint in (None, SCHEMA)
        for temperature in TEMPERATURES
    ]
    everything = [*mixed, *modes]
    same = all(each["differing_tokens"] == 0 for each in everything) and all(each["differing_texts"] == 0 for each in modes)
    failed = any(FinishReason.FAULT.value in each["reasons"] for each in everything)
    return {
        "device": "cpu",
        "numeric": "strict",
        "threads": torch.get_num_threads(),
        "model": given.name,
        "weights_digest": given.weights_digest,
        "exact": same and not failed,
        "mixed_against_alone": mixed,
        "causal_modes": modes,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.exact", description="0 differing tokens, or the difference")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--requests", type=int, default=200, choices=range(1, 2001), metavar="N", help="mixed against alone")
    parser.add_argument("--prompts", type=int, default=200, choices=range(1, 2001), metavar="N", help="per mode and condition")
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2), help="strict vouches for two at most")
    return parser.parse_args()


def main() -> None:
    """The command line."""
    asked_for, console = _arguments(), Console()
    torch.set_num_threads(asked_for.threads)
    columns = (
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        result = measure(load(TINY), asked_for.requests, asked_for.prompts, Ticker(progress))
    console.print_json(data=result)
    write_json(asked_for.json, result)
    sys.exit(0 if result["exact"] else 1)


if __name__ == "__main__":
    main()
