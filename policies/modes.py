"""How a document permits and tunes the ways to decode: modes, and the run-time knobs of each.

[modes]  allowed = ["ar", "linear_spec"]  default = "linear_spec"
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from policies.words import Closed, Fraction, OnDisallowed

BLOCK_LENGTH_MOST: Final = 32
STEPS_MOST: Final = 32

BlockLength = Annotated[int, Meta(ge=1, le=BLOCK_LENGTH_MOST)]
Steps = Annotated[int, Meta(ge=1, le=STEPS_MOST)]


class Mode(StrEnum):
    """The four ways to decode that a document can permit, and `AUTO`: whichever permitted causal one suits the load."""

    AR = "ar"
    DIFFUSION = "diffusion"
    LINEAR_SPEC = "linear_spec"
    QUADRATIC_SPEC = "quadratic_spec"
    AUTO = "auto"


CONCRETE: Final = tuple(mode for mode in Mode if mode is not Mode.AUTO)
CAUSAL: Final = (Mode.LINEAR_SPEC, Mode.AR, Mode.QUADRATIC_SPEC)
"""What `AUTO` chooses among, in the order in which a permitted one lends it its knobs."""


def canonical_modes(modes: Iterable[Mode]) -> tuple[Mode, ...]:
    """The given modes once each, in the order of `Mode`, so that equal sets are recorded equally."""
    chosen = frozenset(modes)
    return tuple(mode for mode in Mode if mode in chosen)


def _require_order(least: float, default: float, most: float) -> None:
    # Written positively, so that a NaN (which compares with nothing) is refused as well.
    if not least <= default <= most:
        raise ValueError(f"need least <= default <= most, got {least}, {default}, {most}")


class BlockLengthKnob(Closed, frozen=True, kw_only=True):
    """Tokens per block. With `choices`, only those values of the range may be had."""

    default: BlockLength = 16
    least: BlockLength = 1
    most: BlockLength = BLOCK_LENGTH_MOST
    choices: tuple[BlockLength, ...] = ()

    def __post_init__(self) -> None:
        _require_order(self.least, self.default, self.most)
        if self.choices and self.default not in self.choices:
            raise ValueError(f"default {self.default} is not one of choices {list(self.choices)}")
        if any(not self.least <= choice <= self.most for choice in self.choices):
            raise ValueError(f"every choice must lie in {self.least}..{self.most}")

    def effective(self, asked: int | None) -> int:
        """The default, or `asked` clamped to the range and then down to a choice (else up to one)."""
        if asked is None:
            return self.default
        held = min(max(asked, self.least), self.most)
        if not self.choices:
            return held
        return max((choice for choice in self.choices if choice <= held), default=min(self.choices))


class StepsKnob(Closed, frozen=True, kw_only=True):
    """Denoising steps that one block may take at most."""

    default: Steps = STEPS_MOST
    least: Steps = 1
    most: Steps = STEPS_MOST

    def __post_init__(self) -> None:
        _require_order(self.least, self.default, self.most)

    def effective(self, asked: int | None) -> int:
        """The default, or `asked` clamped to the range."""
        return self.default if asked is None else min(max(asked, self.least), self.most)


class ThresholdKnob(Closed, frozen=True, kw_only=True):
    """Confidence at which a drafted token is committed; without `default`, by an even schedule."""

    default: Fraction | None = None
    least: Fraction = 0.0
    most: Fraction = 1.0

    def __post_init__(self) -> None:
        _require_order(self.least, self.least if self.default is None else self.default, self.most)

    def effective(self, asked: float | None) -> float | None:
        """The default, or `asked` clamped to the range."""
        return self.default if asked is None else min(max(asked, self.least), self.most)


class SeedFirstKnob(Closed, frozen=True, kw_only=True):
    """Whether a block's first token comes from the causal pass, and whether a client may say otherwise."""

    default: bool = True
    client_may_set: bool = True

    def effective(self, asked: bool | None) -> bool:
        """The default, or `asked` where clients may set it."""
        return asked if asked is not None and self.client_may_set else self.default


class Knobs(Closed, frozen=True, kw_only=True):
    """The run-time compute of one mode. One without `threshold` does not commit by confidence."""

    block_length: BlockLengthKnob = BlockLengthKnob()
    threshold: ThresholdKnob | None = None
    max_steps: StepsKnob = StepsKnob()
    seed_first: SeedFirstKnob = SeedFirstKnob()


class Modes(Closed, frozen=True, kw_only=True):
    """Which modes may run, which one runs unasked, and how each may be tuned.

    `auto` is never in `allowed` and has no table: it can be had wherever a causal mode is allowed, and runs nothing else.
    """

    allowed: tuple[Mode, ...]
    default: Mode
    client_may_choose: bool = True
    on_disallowed: OnDisallowed = OnDisallowed.REFUSE
    ar: Knobs = Knobs()
    diffusion: Knobs = Knobs()
    linear_spec: Knobs = Knobs()
    quadratic_spec: Knobs = Knobs()

    def __post_init__(self) -> None:
        if len(set(self.allowed)) != len(self.allowed):
            raise ValueError("allowed names a mode twice")
        if Mode.AUTO in self.allowed:
            raise ValueError("auto chooses among the allowed modes and is none itself; leave it out of allowed")
        if self.default not in self.choices:
            needed = "needs a causal mode in allowed" if self.default is Mode.AUTO else "is not in allowed"
            raise ValueError(f"default {self.default.value!r} {needed}")

    @property
    def choices(self) -> tuple[Mode, ...]:
        """What a request may be granted, in the order of `Mode`: the allowed modes, and `auto` if it has one to choose."""
        automatic = () if set(CAUSAL).isdisjoint(self.allowed) else (Mode.AUTO,)
        return canonical_modes((*self.allowed, *automatic))

    def knobs(self, mode: Mode) -> Knobs:
        """The knobs of one mode; `auto`, where it is a choice, has those of the first allowed mode of CAUSAL."""
        lender = next(each for each in CAUSAL if each in self.allowed) if mode is Mode.AUTO else mode
        return {
            Mode.AR: self.ar,
            Mode.DIFFUSION: self.diffusion,
            Mode.LINEAR_SPEC: self.linear_spec,
            Mode.QUADRATIC_SPEC: self.quadratic_spec,
        }[lender]
