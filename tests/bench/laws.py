"""A law with a name, and how it is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Law:
    """What must hold; `broken` says how it does not, or nothing."""

    name: str
    broken: Callable[[], str | None]


def judge(laws: Iterator[Law], say: Callable[[str], None]) -> int:
    """Try every law and say what came of it; returns how many are broken."""
    broken = 0
    for law in laws:
        fault = law.broken()
        broken += fault is not None
        say(f"{'held' if fault is None else 'BROKEN'}: {law.name}{'' if fault is None else f': {fault}'}")
    return broken
