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
from engine.gates import Gate, Verdict

MAX_BLOCK = 32
"""Longest block: one attention tile holds a whole group of noisy rows."""

MAX_TOP_LOGPROBS = 20
MAX_STOP_STRINGS, MAX_STOP_BYTES = 16, 256


class Mode(StrEnum):
    """How tokens are found. All but `DIFFUSION` give the same text for the same sampling key; `AUTO` picks by load."""

    AR = "ar"
    DIFFUSION = "diffusion"
    LINEAR_SPEC = "linear_spec"
    QUADRATIC_SPEC = "quadratic_spec"
    AUTO = "auto"


CAUSAL_MODES = (Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC, Mode.AR)
"""The modes whose text is that of `ar`, best first where few generations run."""


class Numeric(StrEnum):
    """How products are summed: `STRICT` in fixed shapes and float32, `FAST` as the machine likes best."""

    STRICT = "strict"
    FAST = "fast"


LEAST_FACTOR, MOST_FACTOR = 1e-6, 1e6
"""Bounds of what a score is divided by or multiplied with: beyond them it is no longer a number in float32."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is picked from its logits; with the position, all that a pick depends on.

    `temperature` 0 is greedy; `seed` is 64 bits; `choice` tells the n answers of one prompt apart. Penalties come first
    (`repetition_penalty` over prompt and answer, the other two over the answer), then temperature, then `top_k` (0: off),
    `top_p` and `min_p` (as a share of the likeliest token's probability).
    """

    temperature: float
    seed: int
    choice: int = 0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature:
            _within("a temperature that is not 0", self.temperature, LEAST_FACTOR, MOST_FACTOR)
        if not 0 <= self.seed < 1 << 64:
            raise InvalidRequest(f"seed must fit in 64 unsigned bits, not {self.seed}")
        _within("choice", self.choice, 0, (1 << 32) - 1)
        if not 0 < self.top_p <= 1:
            raise InvalidRequest(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if self.top_k < 0:
            raise InvalidRequest(f"top_k must be at least 0, not {self.top_k}")
        _within("min_p", self.min_p, 0, 1)
        _within("presence_penalty", self.presence_penalty, -2, 2)
        _within("frequency_penalty", self.frequency_penalty, -2, 2)
        _within("repetition_penalty", self.repetition_penalty, LEAST_FACTOR, MOST_FACTOR)

    @property
    def penalised(self) -> bool:
        """Whether earlier tokens change the scores of later ones."""
        return bool(self.presence_penalty or self.frequency_penalty or self.repetition_penalty != 1)

    @property
    def filtered(self) -> bool:
        """Whether some tokens are cut from the distribution before a draw."""
        return self.temperature > 0 and bool(self.top_p < 1 or self.top_k or self.min_p)


class ConstraintKind(StrEnum):
    """What language a constraint is written in."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    REGEX = "regex"
    GRAMMAR = "grammar"


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the answer must be: `source` is the schema's JSON text, the regex or the Lark grammar; empty for any object."""

    kind: ConstraintKind
    source: str = ""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One answer to generate.

    `threshold` is the diffusion commit confidence (the best position is always committed as well; None means an even
    schedule over `max_steps` denoise steps); `seed_first` starts each diffusion block from the causal pick;
    `stop_ids` and the bytes of `stop_strings` end the answer and are part of its output. `think_budget` is the most tokens
    between `<think>` and `</think>`. `top_logprobs` alternatives are told per output token. Prompts of one `cache_salt`
    (a tenant) share their prefixes and no others. Raises InvalidRequest on construction.
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
    stop_strings: tuple[str, ...] = ()
    top_logprobs: int = 0
    think_budget: int | None = None
    constraint: Constraint | None = None
    gate: Gate | None = None
    cache_salt: str = ""

    def __post_init__(self) -> None:
        if not self.prompt:
            raise InvalidRequest("the prompt is empty: send at least one token")
        self._check_modes()
        if self.max_tokens < 1:
            raise InvalidRequest(f"max_tokens must be at least 1, not {self.max_tokens}")
        _within("block_length", self.block_length, 1, MAX_BLOCK)
        if self.max_steps < 1:
            raise InvalidRequest(f"max_steps must be at least 1, not {self.max_steps}")
        if self.threshold is not None:
            _within("threshold", self.threshold, 0, math.inf)
        _within("top_logprobs", self.top_logprobs, 0, MAX_TOP_LOGPROBS)
        if self.think_budget is not None and self.think_budget < 0:
            raise InvalidRequest(f"think_budget must be at least 0, not {self.think_budget}")
        if self.think_budget is not None and self.constraint is not None:
            raise InvalidRequest("a thinking budget and a constraint cannot be held at once: leave one of them out")
        self._check_stops()
        _bytes("cache_salt", self.cache_salt)

    def _check_modes(self) -> None:
        """Nothing that this request may come to run lies outside `modes_permitted`."""
        permitted = ", ".join(sorted(self.modes_permitted)) or "none"
        if Mode.AUTO in self.modes_permitted:
            raise InvalidRequest("auto chooses among permitted modes and is none itself: leave it out of modes_permitted")
        if self.mode is not Mode.AUTO and self.mode not in self.modes_permitted:
            raise InvalidRequest(f"mode {self.mode} is not permitted for this request (permitted: {permitted})")
        if self.mode is Mode.AUTO and self.modes_permitted.isdisjoint(CAUSAL_MODES):
            raise InvalidRequest(f"auto needs a causal mode to choose, none is permitted (permitted: {permitted})")
        if self.constraint and self.mode is Mode.DIFFUSION and Mode.LINEAR_SPEC not in self.modes_permitted:
            raise InvalidRequest("diffusion cannot hold a constraint and would run as linear_spec, which is not permitted")
        if self.gate and Verdict.REDO_AR in self.gate.verdicts and Mode.AR not in self.modes_permitted:
            raise InvalidRequest("the gate may ask to decode again in ar, which is not permitted for this request")

    def _check_stops(self) -> None:
        if len(self.stop_strings) > MAX_STOP_STRINGS:
            raise InvalidRequest(f"at most {MAX_STOP_STRINGS} stop strings may be given, not {len(self.stop_strings)}")
        if any(not 1 <= _bytes("a stop string", stop) <= MAX_STOP_BYTES for stop in self.stop_strings):
            raise InvalidRequest(f"a stop string must have 1 to {MAX_STOP_BYTES} bytes")


def _bytes(name: str, text: str) -> int:
    """How many bytes the text has. Raises InvalidRequest when it is not Unicode."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{name} holds an unpaired surrogate: send valid Unicode") from error


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most or value == math.inf:
        bounds = f"a finite number of at least {least}" if math.isinf(most) else f"between {least} and {most}"
        raise InvalidRequest(f"{name} must be {bounds}, not {value}")
