"""All that the judge may know: of a request, of a unit of text, of a finished answer. None means that nobody said.

Facts are figures, names and states, so what was judged can be judged again long after the words are gone. Only `ToolCall.paths`
holds words of an answer. Where these are not kept, the call is no longer `readable`: which of the asked globs it met is known,
and any other rule on paths counts as met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

UNCOUNTED: Final = "*"
"""In place of a budget's id: nobody could tell which budgets had room. Only a shadow goes on without knowing."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """One request. `tools` are the names of those offered, `groups` those of the caller.

    `minute_of_week` counts from Monday 00:00 in the document's time zone, which the caller resolves; while it is None, every
    time window counts as open. `exceeded` are the ids of budgets that had no room for this request, or
    `UNCOUNTED`.
    """

    tenant: str
    caller: str
    model: str
    requested_mode: str | None
    workflow: str | None
    risk: str | None
    max_tokens: int | None
    block_length: int | None
    threshold: float | None
    max_steps: int | None
    seed_first: bool | None
    prompt_tokens: int
    groups: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    latency_target_ms: int | None = None
    minute_of_week: int | None = None
    exceeded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """The figures of one unit, as they are recorded (float32); None where the mode has no such figure.

    `mode` is how the unit came about; `start` its absolute position, `attempt` how often it was refined already.
    """

    index: int
    start: int
    mode: str
    tokens: int
    attempt: int
    steps: int
    revisions: int
    logprob_mean: float
    logprob_min: float
    confidence_mean: float | None = None
    confidence_min: float | None = None
    agreement: float | None = None
    acceptance: float | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the answer calls, and what its arguments name, a line each.

    It is not `readable` when that is too much to list, or not kept; then `met` are those of the `asked` globs that it met.
    """

    name: str
    paths: str = ""
    readable: bool = True
    asked: tuple[str, ...] = ()
    met: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerFigures:
    """What `MEASURES` says of answers, over the units that gave output; None where no unit has such a figure."""

    tokens: int = 0
    attempt: int = 0
    steps: int = 0
    revisions: int = 0
    forwards: int = 0
    logprob_mean: float | None = None
    logprob_min: float | None = None
    confidence_mean: float | None = None
    confidence_min: float | None = None
    agreement: float | None = None
    acceptance: float | None = None
    refined_share: float | None = None
    redone_share: float | None = None
    held_share: float | None = None


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """A finished answer; `held_by` and `blocked_by` are the labels of what held or blocked its units."""

    figures: AnswerFigures = AnswerFigures()
    calls: tuple[ToolCall, ...] = ()
    held_by: tuple[str, ...] = ()
    blocked_by: tuple[str, ...] = ()
