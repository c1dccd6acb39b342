"""Sizes, rates and budgets: how much one answer may have, and how much a key, tenant or workflow may have of them."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

from policies.approval import DEFAULT_APPROVAL
from policies.modes import Mode
from policies.words import TOKENS_MOST, Closed, DecimalText, Glob, Id, Tokens


class Limits(Closed, frozen=True, kw_only=True):
    """Sizes in tokens: of an answer (`default_...` if the client names none) and of a prompt."""

    default_max_tokens: Tokens = 512
    max_tokens: Tokens = 4096
    max_prompt_tokens: Tokens = TOKENS_MOST

    def __post_init__(self) -> None:
        if self.default_max_tokens > self.max_tokens:
            raise ValueError(f"default_max_tokens must not exceed max_tokens {self.max_tokens}")

    def answer_tokens(self, asked: int | None) -> int:
        """The default, or `asked` clamped to 1..max_tokens."""
        return self.default_max_tokens if asked is None else min(max(asked, 1), self.max_tokens)


class Unit(StrEnum):
    """What a budget counts. `concurrency` counts requests that are open, `money` is in the currency of the prices."""

    REQUESTS = "requests"
    CONCURRENCY = "concurrency"
    TOKENS = "tokens"
    FORWARDS = "forwards"
    GPU_SECONDS = "gpu_seconds"
    MONEY = "money"


class Per(StrEnum):
    """Whose consumption is added up."""

    KEY = "key"
    TENANT = "tenant"
    WORKFLOW = "workflow"


class Window(StrEnum):
    """Over which time: the running minute, hour or day, or a calendar month in the document's time zone."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class OnExceed(StrEnum):
    """What becomes of a request that a budget has no room for, the mildest first."""

    DOWNGRADE_MODE = "downgrade_mode"
    HOLD = "hold"
    BLOCK = "block"

    @property
    def rank(self) -> int:
        """0 is the mildest."""
        return _RANKS[self]


_RANKS: Final = {choice: rank for rank, choice in enumerate(OnExceed)}


class Budget(Closed, frozen=True, kw_only=True):
    """An amount of one unit per key, tenant or workflow, in a window; a `workflow` glob narrows whom it concerns.

    A request that was downgraded still consumes: `downgrade_mode` slows spending and does not end it.
    """

    id: Id
    per: Per
    unit: Unit
    amount: DecimalText
    window: Window | None = None
    workflow: Glob | None = None
    on_exceed: OnExceed = OnExceed.BLOCK
    downgrade_to: Mode | None = None
    approval: Id = DEFAULT_APPROVAL

    @property
    def exact(self) -> Decimal:
        """The amount as a number."""
        return Decimal(self.amount)
