"""Feeding a parser: genuine inputs, hostile ones, then mutants without end, each within bounds of time and memory.

An input that is refused for a new reason joins those from which further ones are made, so the fuzzer works its way inwards.
"""

from __future__ import annotations

import re
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import FrameType
from typing import Any, NoReturn

from tests.faults.mutate import mutated
from tests.faults.parsers import Parser

MOST_SECONDS = 1.0
"""Of processor time for one input, which has at most 64 KiB."""

ENDLESS_SECONDS = 10.0
MOST_MEMORY, MEMORY_PER_BYTE = 2 * 1024 * 1024, 600
MEASURED_EVERY = 61
"""Memory is measured for one input in so many, since measuring slows everything down."""

POOL = 400
_DETAIL = re.compile(r"""['"`].*['"`]|[0-9a-f]{8,}|[0-9]+""", re.DOTALL)


class TooSlow(BaseException):
    """An input took too long; no parser may catch this."""


@dataclass(slots=True)
class Tally:
    """What a parser made of its inputs."""

    inputs: int = 0
    accepted: int = 0
    reasons: set[str] = field(default_factory=set)
    """Distinct reasons for a refusal."""
    slowest: float = 0.0
    """Seconds of processor time."""
    broken: dict[str, bytes] = field(default_factory=dict)
    """The shortest input for each way in which the parser broke the law."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "inputs": self.inputs,
            "accepted": self.accepted,
            "reasons": len(self.reasons),
            "slowest_ms": round(1000 * self.slowest, 2),
            "broken": sorted(self.broken),
        }


def fuzz(parser: Parser, random: Random, go_on: Callable[[Tally], bool]) -> Tally:
    """Feed a parser its genuine and hostile inputs and then mutants, while `go_on` says so."""
    tally, pool = Tally(), list(parser.genuine)
    for data in parser.genuine:
        _feed(parser, data, tally)
    if tally.accepted != len(parser.genuine):
        _note(tally, parser.genuine[0], "a genuine input was refused")
    for data in parser.hostile:
        before = tally.accepted
        _feed(parser, data, tally)
        if tally.accepted != before:
            _note(tally, data, "a hostile input was accepted")
    while go_on(tally):
        data = mutated(random, pool)
        if _feed(parser, data, tally) and len(pool) < POOL:
            pool.append(data)
    return tally


def _feed(parser: Parser, data: bytes, tally: Tally) -> bool:
    """Let the parser read one input; True when it refused for a reason that is new."""
    tally.inputs += 1
    measured = tally.inputs % MEASURED_EVERY == 0
    if measured:
        tracemalloc.start()
    started, reasons = time.process_time(), len(tally.reasons)
    try:
        with _interrupted_after(ENDLESS_SECONDS):
            parser.read(data)
        tally.accepted += 1
    except parser.refusals as refusal:
        tally.reasons.add(f"{type(refusal).__name__}: {_DETAIL.sub('*', str(refusal))[:200]}")
    except (Exception, TooSlow) as error:  # noqa: BLE001 - whatever else comes out of a parser is what we are looking for
        _note(tally, data, f"{type(error).__name__}: {_DETAIL.sub('*', str(error))[:200]}")
    finally:
        taken = time.process_time() - started
        if measured:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            if peak > MOST_MEMORY + MEMORY_PER_BYTE * len(data):
                _note(tally, data, "an input of this length took too much memory")
    if not measured:
        tally.slowest = max(tally.slowest, taken)
        if taken > MOST_SECONDS:
            _note(tally, data, "an input took too long")
    return len(tally.reasons) > reasons


def _note(tally: Tally, data: bytes, law: str) -> None:
    """Keep the shortest input for each way to break the law."""
    if law not in tally.broken or len(data) < len(tally.broken[law]):
        tally.broken[law] = data


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """Processor time beyond that ends the block with TooSlow; main thread only."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TooSlow("an input kept the parser busy without end")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
