"""What a request takes of each unit that a budget may count: at most, before it runs, and in truth, once it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

import msgspec

import policies
from engine.gates import REFINES_MOST
from policies import Mode, Prices, Unit, Usage, Verdict

ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Tariff:
    """What counts the money of a request: the mode that it was granted, and the prices of its policy."""

    mode: Mode
    prices: Prices

    @classmethod
    def of(cls, policy: policies.Policy, decision: policies.Decision) -> Self:
        """The tariff of a request that was decided so."""
        return cls(decision.mode, policy.document.prices)

    @classmethod
    def read(cls, mode: str, prices: str) -> Self:
        """What `told` has written."""
        return cls(Mode(mode), msgspec.json.decode(prices, type=Prices))

    def told(self) -> tuple[str, str]:
        """The mode, and the prices as JSON."""
        return self.mode.value, msgspec.json.encode(self.prices).decode()


@dataclass(frozen=True, slots=True)
class Consumption:
    """Amounts by unit; a request is one request and, while it runs, one of those that are open."""

    tokens: Decimal
    forwards: Decimal
    gpu_seconds: Decimal
    money: Decimal

    @classmethod
    def of_usage(cls, tariff: Tariff, usage: Usage) -> Self:
        """Tokens are those of prompt and answer; money is exact."""
        return cls(
            tokens=Decimal(usage.prompt_tokens + usage.answer_tokens),
            forwards=Decimal(usage.forwards),
            gpu_seconds=usage.gpu_seconds,
            money=policies.cost(tariff.prices, tariff.mode, usage),
        )

    def of(self, unit: Unit) -> Decimal:
        """What is to be reserved of one unit."""
        if unit in (Unit.REQUESTS, Unit.CONCURRENCY):
            return ONE
        return {
            Unit.TOKENS: self.tokens,
            Unit.FORWARDS: self.forwards,
            Unit.GPU_SECONDS: self.gpu_seconds,
            Unit.MONEY: self.money,
        }[unit]

    def told(self) -> dict[str, str]:
        """By unit, as the database reads it: texts, so that no float comes between."""
        counted = (Unit.TOKENS, Unit.FORWARDS, Unit.GPU_SECONDS, Unit.MONEY)
        return {unit.value: f"{self.of(unit):f}" for unit in counted}


NOTHING: Final = Consumption(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
"""Of a request that generates nothing."""


def most(decision: policies.Decision, prompt_tokens: int, room: int, seconds_per_forward: Decimal) -> Usage:
    """What a request may use at most; `room` is what its prompt leaves of the context, in tokens.

    Tokens and forwards are true bounds. Seconds are the forwards at the given pace, which is an expectation.
    """
    answer = min(decision.max_tokens, room)
    forwards = max(_forwards(decision, mode, answer) for mode in _ways(decision))
    return Usage(prompt_tokens, answer, forwards, forwards * seconds_per_forward)


def _ways(decision: policies.Decision) -> tuple[Mode, ...]:
    """The modes that the engine may take: `auto` chooses."""
    if decision.mode is Mode.AUTO:
        return tuple(mode for mode in decision.modes_permitted if mode is not Mode.DIFFUSION)
    return (decision.mode,)


def _forwards(decision: policies.Decision, mode: Mode, answer: int) -> int:
    """Passes after prefill for `answer` tokens, in the worst case of each mode."""
    if mode in (Mode.AR, Mode.QUADRATIC_SPEC):
        return answer
    if mode is Mode.LINEAR_SPEC:
        return 2 * answer
    length = decision.block_length
    passes = min(length, decision.max_steps) + 1
    if Verdict.REFINE in decision.verdicts:
        passes += REFINES_MOST * (length + 1)
    if Verdict.REDO_AR in decision.verdicts:
        passes += length
    return -(-answer // length) * passes
