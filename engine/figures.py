"""What an engine has done so far and what it holds now, in whole numbers, for whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Figures:
    """An engine at one moment. Numbers of the same moment may differ by what one step changes.

    Totals: `passes` of the network and their `rows`; `prompt_tokens` of the generations that began and how many of those were
    in the cache; `preemptions`. At this moment: generations that run, are `preempted` or have not begun (`waiting`); pages
    that have an owner, pages that are remembered for their content, and all there are.
    """

    passes: int = 0
    rows: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    running: int = 0
    preempted: int = 0
    waiting: int = 0
    pages_owned: int = 0
    pages_remembered: int = 0
    pages: int = 0
