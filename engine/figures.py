"""What an engine has done so far and what it holds now, in whole numbers, for whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Totals:
    """Sums since the engine was made; its owner's thread adds to them, any thread may read one."""

    passes: int = 0
    rows: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """An engine at one moment. Numbers of the same moment may differ by what one step changes.

    Totals: `passes` of the network and their `rows`; `prompt_tokens` of the generations that began and how many of those were
    in the cache; `preemptions`. At this moment: generations that run, are `preempted` or have not begun (`waiting`); pages
    that have an owner, pages that are remembered for their content, and all there are.
    """

    passes: int
    rows: int
    prompt_tokens: int
    cached_tokens: int
    preemptions: int
    running: int
    preempted: int
    waiting: int
    pages_owned: int
    pages_remembered: int
    pages: int
