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
    """Try every law and say what came of it; returns how many are broken. One that raises is, and ends nothing else."""
    broken = 0
    for law in laws:
        fault = _tried(law)
        broken += fault is not None
        say(f"{'held' if fault is None else 'BROKEN'}: {law.name}{'' if fault is None else f': {fault}'}")
    return broken


def _tried(law: Law) -> str | None:
    try:
        return law.broken()
    except Exception as error:  # noqa: BLE001 - whatever a device has to say against it
        return f"{type(error).__name__}: {error}"
