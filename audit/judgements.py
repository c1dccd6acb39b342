"""What the law was asked and what it said at last: the facts of a request, and the verdict on a finished answer.

Figures, names and states only. Of the arguments of tools that an answer called nothing is kept but which of the globs
that were asked they met, so the verdict can be reached again without them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from audit.errors import InvalidRecord
from audit.forms import BOOL, FLOAT, TEXT, TEXTS, UINT, at, maybe, nested, one_of, sequence


@dataclass(frozen=True, slots=True)
class Asked:
    """What was known of a request when the law was asked; None where nobody said. Tenant and caller are in the header."""

    model: str = field(metadata=at(1, TEXT))
    requested_mode: str | None = field(metadata=at(2, maybe(TEXT)))
    workflow: str | None = field(metadata=at(3, maybe(TEXT)))
    risk: str | None = field(metadata=at(4, maybe(TEXT)))
    max_tokens: int | None = field(metadata=at(5, maybe(UINT)))
    block_length: int | None = field(metadata=at(6, maybe(UINT)))
    threshold: float | None = field(metadata=at(7, maybe(FLOAT)))
    max_steps: int | None = field(metadata=at(8, maybe(UINT)))
    seed_first: bool | None = field(metadata=at(9, maybe(BOOL)))
    prompt_tokens: int = field(metadata=at(10, UINT))
    groups: tuple[str, ...] = field(metadata=at(11, TEXTS))
    tools: tuple[str, ...] = field(metadata=at(12, TEXTS))
    latency_target_ms: int | None = field(metadata=at(13, maybe(UINT)))
    minute_of_week: int | None = field(metadata=at(14, maybe(UINT)))
    """From Monday 00:00 in the time zone of the policy."""
    exceeded: tuple[str, ...] = field(metadata=at(15, TEXTS))
    """Budgets that had no room."""


@dataclass(frozen=True, slots=True)
class Called:
    """A tool that the answer calls: its name, and the path globs that its arguments meet."""

    name: str = field(metadata=at(1, TEXT))
    met: tuple[str, ...] = field(metadata=at(2, TEXTS))


@dataclass(frozen=True, slots=True)
class Due:
    """An approval that a hold asks for, and the labels of what asked."""

    approval: str = field(metadata=at(1, TEXT))
    because: tuple[str, ...] = field(metadata=at(2, TEXTS))


@dataclass(frozen=True, slots=True)
class ReleaseDecision:
    """Kind 13: the verdict on a finished answer, the labels that gave it, what is due, and the facts that were judged.

    `names` and `values` are the figures of the answer, doubles, those that exist; `globs` are all that calls were held against.
    """

    verdict: str = field(metadata=at(1, one_of("allow", "annotate", "hold", "block")))
    rules: tuple[str, ...] = field(metadata=at(2, TEXTS))
    due: tuple[Due, ...] = field(metadata=at(3, sequence(nested(Due))))
    names: tuple[str, ...] = field(metadata=at(4, TEXTS))
    values: tuple[float, ...] = field(metadata=at(5, sequence(FLOAT)))
    calls: tuple[Called, ...] = field(metadata=at(6, sequence(nested(Called))))
    globs: tuple[str, ...] = field(metadata=at(7, TEXTS))
    held_by: tuple[str, ...] = field(metadata=at(8, TEXTS))
    blocked_by: tuple[str, ...] = field(metadata=at(9, TEXTS))
    annotations: tuple[str, ...] = field(default=(), metadata=at(10, TEXTS))
    """The labels of which the client was told beside an answer that left."""

    def __post_init__(self) -> None:
        if len(self.names) != len(self.values):
            raise InvalidRecord("a release decision has one value per figure")
        if any(set(call.met) - set(self.globs) for call in self.calls):
            raise InvalidRecord("a call meets a glob that nobody asked")
