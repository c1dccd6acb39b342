"""What a caller may ask of the engine, checked at the door.

Everything here is plain data that is fixed for the life of the generation: a request plus the model's weights and the
numeric fingerprint decide every token. Checks that need the model (context, vocabulary) are made by `Engine.submit`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from engine.errors import InvalidRequest

MAX_BLOCK = 32
"""Longest block: one attention tile holds a whole group of noisy rows."""


class Mode(StrEnum):
    """How tokens are found. All but `DIFFUSION` give the same text for the same sampling key."""

    AR = "ar"
    DIFFUSION = "diffusion"
    LINEAR_SPEC = "linear_spec"
    QUADRATIC_SPEC = "quadratic_spec"


@dataclass(frozen=True, slots=True)
class Sampling:
    """The sampling key: `temperature` 0 is greedy; `seed` is 64 bits; `choice` tells the n answers of one prompt apart."""

    temperature: float
    seed: int
    choice: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InvalidRequest(f"temperature must be a finite number of at least 0, not {self.temperature}")
        if not 0 <= self.seed < 1 << 64:
            raise InvalidRequest(f"seed must fit in 64 unsigned bits, not {self.seed}")
        if not 0 <= self.choice < 1 << 32:
            raise InvalidRequest(f"choice must be between 0 and 4294967295, not {self.choice}")


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One answer to generate.

    `threshold` is the diffusion commit confidence (the best position is always committed as well; None means an even
    schedule over `max_steps` denoise steps); `seed_first` starts each diffusion block from the causal pick;
    `stop_ids` end the answer and are part of its output. Raises InvalidRequest on construction.
    """

    id: UUID
    prompt: tuple[int, ...]
    mode: Mode
    modes_permitted: frozenset[Mode]
    max_tokens: int
    sampling: Sampling
    block_length: int
    threshold: float | None
    max_steps: int
    seed_first: bool
    stop_ids: frozenset[int]

    def __post_init__(self) -> None:
        if not self.prompt:
            raise InvalidRequest("the prompt is empty: send at least one token")
        if self.mode not in self.modes_permitted:
            permitted = ", ".join(sorted(self.modes_permitted)) or "none"
            raise InvalidRequest(f"mode {self.mode} is not permitted for this request (permitted: {permitted})")
        if self.max_tokens < 1:
            raise InvalidRequest(f"max_tokens must be at least 1, not {self.max_tokens}")
        if not 1 <= self.block_length <= MAX_BLOCK:
            raise InvalidRequest(f"block_length must be between 1 and {MAX_BLOCK}, not {self.block_length}")
        if self.max_steps < 1:
            raise InvalidRequest(f"max_steps must be at least 1, not {self.max_steps}")
        if self.threshold is not None and not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise InvalidRequest(f"threshold must be a finite number of at least 0, not {self.threshold}")
