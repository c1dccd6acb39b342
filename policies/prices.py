"""The price sheet: what a generation costs, exactly, by the mode that made it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Annotated, Final

from msgspec import Meta

from policies.modes import CAUSAL, Mode
from policies.words import Closed, DecimalText

MILLION: Final = Decimal(1_000_000)
DIGITS: Final = 80
"""Enough for the longest price times the largest count, so that no sum is ever rounded."""


class ModePrice(Closed, frozen=True, kw_only=True):
    """Prices as decimal strings: per million tokens of prompt and of answer, per million passes, per GPU second."""

    prompt_tokens: DecimalText = "0"
    answer_tokens: DecimalText = "0"
    forwards: DecimalText = "0"
    gpu_seconds: DecimalText = "0"


class Prices(Closed, frozen=True, kw_only=True):
    """One currency (three capital letters), and a price for each mode; `auto` is billed as the dearest causal one."""

    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")] = "USD"
    ar: ModePrice = ModePrice()
    diffusion: ModePrice = ModePrice()
    linear_spec: ModePrice = ModePrice()
    quadratic_spec: ModePrice = ModePrice()

    def of(self, mode: Mode) -> tuple[ModePrice, ...]:
        """The prices that may apply to one mode."""
        sheet = {
            Mode.AR: (self.ar,),
            Mode.DIFFUSION: (self.diffusion,),
            Mode.LINEAR_SPEC: (self.linear_spec,),
            Mode.QUADRATIC_SPEC: (self.quadratic_spec,),
            Mode.AUTO: tuple(getattr(self, each.value) for each in CAUSAL),
        }
        return sheet[mode]


@dataclass(frozen=True, slots=True)
class Usage:
    """What one generation consumed; tokens of prompt and answer, passes after prefill, seconds that the device worked for it.

    The device is a GPU or, where the engine runs on none, the CPU: a price per GPU second is then one per second of that.
    """

    prompt_tokens: int = 0
    answer_tokens: int = 0
    forwards: int = 0
    gpu_seconds: Decimal = Decimal(0)


def cost(prices: Prices, mode: Mode, usage: Usage) -> Decimal:
    """What `usage` costs, in the currency of the sheet and without rounding."""
    with localcontext(prec=DIGITS):
        return max(_cost(price, usage) for price in prices.of(mode))


def _cost(price: ModePrice, usage: Usage) -> Decimal:
    counted = (
        Decimal(price.prompt_tokens) * usage.prompt_tokens
        + Decimal(price.answer_tokens) * usage.answer_tokens
        + Decimal(price.forwards) * usage.forwards
    )
    return counted / MILLION + Decimal(price.gpu_seconds) * usage.gpu_seconds
