"""Whole passes on a device, and the engine over them: what a network of the 8B model's shape reaches with random weights.

`tests.bench.kernels` runs this behind the kernels themselves and sets both beside what they should reach (`targets.py`).

Random weights accept no drafts. But a draft and its verification are picked with the same noise, so the higher the
temperature, the more the noise decides and the more drafts hold. So a temperature is sought at which a forward gives as many
tokens as a trained model's would, and the engine runs at that: every draft, acceptance and rollback is a real one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import Final
from uuid import UUID

import torch

from engine.cache import KVCache
from engine.chain import Link
from engine.config import ModelConfig, RopeConfig
from engine.device import OnDevice
from engine.engine import Engine
from engine.events import Finished, Output
from engine.forward import Forward
from engine.memory import give_back
from engine.model.checkpoint import LoadedModel
from engine.model.network import Network
from engine.pages import PAGE, PagePool
from engine.plan import Plan, clean
from engine.request import Mode, Numeric
from engine.sampling import Ask
from engine.scheduler import Capacity
from kernels.ahead import EIGHT_B, Shape
from tests.engine.harness import asked, tokenizer, unbroken

CONTEXT: Final = 512
"""Positions in the cache of a sequence whose passes are timed."""
CROWD: Final = 64
BLOCK: Final = 32
"""The family's block length."""
TIMES, IN_A_ROW = 5, 16
SETTLED, LEFT = 16, 8
"""Tokens of everybody before the crowd is timed, and that everybody still has to say when the clock stops."""
PROMPT: Final = 48
NEAR: Final = 0.03
"""How far from the wanted tokens per forward a temperature may leave them, as a part of them."""
TRIES: Final = 14


def config_of(shape: Shape, layers: int) -> ModelConfig:
    """The family's configuration in this shape."""
    return ModelConfig(
        hidden_size=shape.hidden,
        num_hidden_layers=layers,
        intermediate_size=shape.inner,
        num_attention_heads=shape.queries,
        num_key_value_heads=shape.keys,
        head_dim=shape.size,
        vocab_size=shape.vocab,
        rms_norm_eps=shape.eps,
        rope=RopeConfig(theta=1e6, factor=16.0, original_max_position=16384),
        max_position_embeddings=262_144,
        bos_token_id=1,
        eos_token_id=11,
        mask_token_id=100,
        block_size=BLOCK,
    )


EIGHT_B_CONFIG: Final = config_of(EIGHT_B, layers=34)


@torch.no_grad()
def random_model(config: ModelConfig, rank: int, device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """Random weights that are drawn where they are to lie, the drafter LoRA's too."""
    network = Network.blank(config, rank, dtype)
    generator = torch.Generator(device).manual_seed(0)
    for parameter in network.parameters():
        drawn = torch.ones(parameter.shape, device=device, dtype=dtype)
        parameter.data = drawn.normal_(std=0.02, generator=generator) if parameter.ndim > 1 else drawn
    network.requires_grad_(False).eval()
    return LoadedModel("random", config, network, tokenizer(), "0" * 64, device=device)


def read_bytes(network: Network, dtype: torch.dtype) -> int:
    """What a pass of one row reads of the weights: all but the embedding's other rows and the drafter LoRA."""
    apart = network.embed_tokens.weight.numel()
    lora = sum(parameter.numel() for name, parameter in network.named_parameters() if "lora_" in name)
    return (sum(parameter.numel() for parameter in network.parameters()) - apart - lora) * dtype.itemsize


@contextmanager
def planned(pool: PagePool, sequences: int, rows: int, context: int = CONTEXT) -> Iterator[Link]:
    """Verification rows of so many sequences with `context` positions each, picked greedily; its pages are given back."""
    caches = [KVCache(pool, b"") for _ in range(sequences)]
    try:
        for cache in caches:
            if not cache.reserve(context + rows):
                raise ValueError(f"{sequences} sequences of {context + rows} positions are more than the pool's pages hold")
            cache.filled = context
        step = clean((5,) * rows)
        yield Link(Plan.pack([(cache, step) for cache in caches]), (), [Ask(rows, 0.0, 0)] * sequences)
    finally:
        for cache in caches:
            cache.drop()


def pass_seconds(forward: Forward, pool: PagePool, sequences: int, rows: int, context: int = CONTEXT) -> float:
    """Median seconds of one pass among passes in a row, told as the engine tells them; the one wait at their end apart.

    The host tells the next while one runs, so this is the device's time where a pass outlasts that, as one of 8B weights does.
    """
    with torch.inference_mode(), planned(pool, sequences, rows, context) as each:  # as the engine runs what it has recorded

        def timed(count: int) -> float:
            began = perf_counter()
            forward([each] * count, pool)
            return perf_counter() - began

        timed(2)
        few, many = ([timed(count) for _ in range(TIMES)] for count in (1, 1 + IN_A_ROW))
    return (median(many) - median(few)) / IN_A_ROW


@dataclass(frozen=True, slots=True)
class Steps:
    """Seconds of a pass under one policy: of one row, of a block of one sequence, of a row of each of a crowd."""

    one: float
    block: float
    crowd: float

    @classmethod
    def of(cls, model: LoadedModel, policy: OnDevice) -> Steps:
        """By a pass of its own over pages of its own, which are gone afterwards."""
        forward = policy.prepare(model.network)
        pool = PagePool(model.config, CROWD * (CONTEXT // PAGE + 1), policy.dtype, policy.device)
        found = cls(*(pass_seconds(forward, pool, *size) for size in ((1, 1), (1, BLOCK), (CROWD, 1))))
        del forward, pool
        give_back(policy.device)
        return found

    def over(self, other: Steps) -> float:
        """The largest part that one of these takes of its like."""
        return max(self.one / other.one, self.block / other.block, self.crowd / other.crowd)


@dataclass(frozen=True, slots=True)
class Crowd:
    """A crowd in `ar` while nobody begins or ends: wall seconds, tokens, and the seconds of its passes one behind the other."""

    seconds: float
    tokens: int
    passes: float

    @property
    def lost(self) -> float:
        """The part of the time in which no pass ran."""
        return 1 - self.passes / self.seconds


@dataclass(frozen=True, slots=True)
class Trace:
    """One answer by `linear_spec` at the temperature at which its forwards give about as many tokens as wanted."""

    temperature: float
    tokens_per_forward: float
    tokens_per_second: float


class Running:
    """The engine over a model on a device, under one policy."""

    def __init__(self, model: LoadedModel, policy: OnDevice, pages: int = 4096) -> None:
        """On a CUDA device the pages are all that it has room for."""
        self._engine = Engine(model, policy, Capacity(pages=pages, running=CROWD))
        self._vocabulary = model.config.vocab_size

    def crowd(self, tokens: int) -> Crowd:
        """`CROWD` answers of so many tokens at once; timed from when everybody has some until somebody is nearly done."""
        requests = [asked(Mode.AR, self._prompt(place), tokens) for place in range(CROWD)]
        said = dict.fromkeys((request.id for request in requests), 0)
        for request in requests:
            self._engine.submit(request)
        self._until(said, lambda: min(said.values()) >= SETTLED)
        began, before, passes = perf_counter(), sum(said.values()), self._engine.figures().passes
        self._until(said, lambda: max(said.values()) >= tokens - LEFT)
        seconds, told = perf_counter() - began, sum(said.values()) - before
        passes = self._engine.figures().passes - passes
        self._until(said, self._engine.idle)
        middle = PROMPT + (SETTLED + tokens - LEFT) // 2  # where the crowd stood while it was timed
        alone = pass_seconds(self._engine._forward, self._engine._pool, CROWD, 1, middle)
        return Crowd(seconds, told, passes * alone)

    def trace(self, wanted: float, tokens: int) -> Trace | None:
        """`linear_spec` alone; None where no temperature that was tried gives about that many tokens per forward."""
        low, high = 1e-2, 1e4
        for _ in range(TRIES):
            middle = math.sqrt(low * high)
            found = self._answer(middle, tokens)
            if abs(found.tokens_per_forward - wanted) <= NEAR * wanted:
                again = median(self._answer(middle, tokens).tokens_per_second for _ in range(TIMES))
                return replace(found, tokens_per_second=again)
            low, high = (middle, high) if found.tokens_per_forward < wanted else (low, middle)
        return None

    def _answer(self, temperature: float, tokens: int) -> Trace:
        request = asked(Mode.LINEAR_SPEC, self._prompt(0), tokens, block=BLOCK, temperature=temperature)
        said = {request.id: 0}
        self._engine.submit(request)
        self._until(said, lambda: said[request.id] > 0)
        began, before = perf_counter(), said[request.id]
        (end,) = self._until(said, self._engine.idle)
        rate = (end.tokens - before) / (perf_counter() - began)
        return Trace(temperature, end.tokens / end.forwards, rate)

    def _until(self, said: dict[UUID, int], done: Callable[[], bool]) -> list[Finished]:
        """Step, counting what everybody says, until it is so; the ends that were told. Raises RuntimeError after a fault."""
        ends: list[Finished] = []
        while not done():
            for event in map(unbroken, self._engine.step()):
                if isinstance(event, Output):
                    said[event.generation] += len(event.output)
                elif isinstance(event, Finished):
                    ends.append(event)
        return ends

    def _prompt(self, place: int) -> tuple[int, ...]:
        """Ids of its own, so that nobody finds another's pages."""
        return tuple((7 * place + 13 * index) % (self._vocabulary - 200) + 150 for index in range(PROMPT))


@dataclass(frozen=True, slots=True)
class Reached:
    """All of it, on one device."""

    read_bytes: int
    fast: Steps
    strict: Steps
    crowd: Crowd
    traces: tuple[Trace | None, ...]


def reached(
    config: ModelConfig,
    policy: Callable[[Numeric], OnDevice],
    rates: Sequence[float],
    tokens: int,
    say: Callable[[str], None],
) -> Reached:
    """Measure everything; `rates` are tokens per forward, answers have `tokens` tokens, `say` hears what is going on."""
    fast, strict = policy(Numeric.FAST), policy(Numeric.STRICT)
    give_back(fast.device)
    say("drawing random weights")
    model = random_model(config, EIGHT_B.rank, fast.device, fast.dtype)
    say("passes under fast")
    quick = Steps.of(model, fast)
    say("passes under strict")
    exact = Steps.of(model, strict)
    running = Running(model, fast)
    say(f"{CROWD} answers at once")
    crowd = running.crowd(tokens)
    traces = []
    for rate in rates:
        say(f"linear_spec at {rate} tokens per forward")
        traces.append(running.trace(rate, 2 * tokens))
    return Reached(read_bytes(model.network, fast.dtype), quick, exact, crowd, tuple(traces))
