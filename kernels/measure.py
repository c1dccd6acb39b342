"""What the kernels reach on a CUDA device, beside what the same device reaches in the same run: a copy, a large product.

Bytes and operations are those that the work needs (weights, keys, values, rows in and out, each once), not those that a kernel
happens to move, so that a share of the ceiling says how much is left to gain. Times are medians over calls that find the cache
full of something else, as the next layer would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor

from kernels.ahead import Shape
from kernels.head import Asked, Heat, pick
from kernels.linear import tiled_linear
from kernels.lora import gated_lora
from kernels.norm import add_rms_norm
from kernels.paged import CLEAN, PAGE, TILE, Rows, paged_attention
from kernels.rotary import rotate_and_keep
from kernels.swiglu import silu_mul

CALLS, WARM_UP = 20, 3
FLUSH_BYTES = 1 << 30
"""More than any cache of a GPU holds, and so much that the host has told all of a call while it is written."""
COPY_BYTES, PRODUCT_SIDE = 2 << 30, 8192


@dataclass(frozen=True, slots=True)
class Case:
    """One call of a door, with the bytes and the floating-point operations that it cannot do without."""

    name: str
    rows: int
    bytes: int
    operations: int
    run: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What a device reaches: bytes a second of a copy, read and written, and operations a second of a bfloat16 product."""

    bytes_per_second: float
    operations_per_second: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A case with its time."""

    name: str
    rows: int
    seconds: float
    bytes_per_second: float
    operations_per_second: float


@dataclass(frozen=True, slots=True)
class Device:
    """A CUDA device."""

    name: str
    torch: torch.device


def cuda() -> Device | None:
    """The CUDA device that torch computes on, if there is one."""
    if not torch.cuda.is_available():
        return None
    return Device(torch.cuda.get_device_name(), torch.device("cuda", torch.cuda.current_device()))


class Bench:
    """Inputs on one device, random and of one shape."""

    def __init__(self, shape: Shape, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        self._shape, self._device, self._dtype = shape, device, dtype
        self._generator = torch.Generator(device).manual_seed(0)

    def cases(self, rows: tuple[int, ...] = (1, 32, 128), contexts: tuple[int, ...] = (4096, 32768)) -> Iterator[Case]:
        """Every kernel that a pass spends its time in, for so many rows; attention of up to 32 over so many positions."""
        for count in rows:
            yield from self._products(count)
            yield from self._rowwise(count)
        for context in contexts:
            for count in sorted({min(count, TILE) for count in rows}):
                yield self._attention(count, context)

    def _random(self, *sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=self._generator, device=self._device).to(self._dtype)

    def _ints(self, values: Tensor | Sequence[object]) -> Tensor:
        return torch.as_tensor(values).to(self._device, torch.int32)

    def _products(self, rows: int) -> Iterator[Case]:
        shape, item = self._shape, self._dtype.itemsize
        projection = (shape.queries + 2 * shape.keys) * shape.size
        for inputs, outputs in ((shape.hidden, projection), (shape.hidden, 2 * shape.inner), (shape.inner, shape.hidden)):
            x, weight = self._random(rows, inputs), self._random(outputs, inputs)
            moved, work = (weight.numel() + x.numel() + rows * outputs) * item, 2 * rows * weight.numel()
            yield Case(f"linear {inputs} x {outputs}", rows, moved, work, partial(tiled_linear, x, weight))
        hidden, weight = self._random(rows, shape.hidden), self._random(shape.vocab, shape.hidden)
        target = torch.zeros(rows, dtype=torch.int32, device=self._device)
        long = target.to(torch.int64)
        heat = Heat(torch.ones(rows, device=self._device), long, long)
        moved, work = (weight.numel() + hidden.numel()) * item, 2 * rows * weight.numel()
        for name, asked in (("head", Asked(0, target)), ("head, noise", Asked(0, target, heat))):
            yield Case(name, rows, moved, work, partial(pick, hidden, weight, asked))

    def _rowwise(self, rows: int) -> Iterator[Case]:
        shape, item = self._shape, self._dtype.itemsize
        x, found, weight = self._random(rows, shape.hidden), self._random(rows, shape.hidden), self._random(shape.hidden)
        yield Case("norm", rows, 4 * x.numel() * item, 0, partial(add_rms_norm, x, found, weight, shape.eps))
        opened = self._random(rows, 2 * shape.inner)
        yield Case("silu-mul", rows, 3 * rows * shape.inner * item, 0, partial(silu_mul, opened))
        down, up = self._random(shape.rank, shape.hidden), self._random(shape.hidden, shape.rank)
        gate, work = torch.ones(rows, device=self._device), 2 * rows * (down.numel() + up.numel())
        moved = (down.numel() + up.numel() + 3 * x.numel()) * item
        yield Case("lora", rows, moved, work, partial(gated_lora, found, x, down, up, gate))
        heads = shape.queries + 2 * shape.keys
        projected = self._random(rows, heads, shape.size)
        turns = torch.ones(rows, 2, shape.size // 2, device=self._device)
        pages = self._random(-(-rows // PAGE), PAGE, 2, shape.keys, shape.size)
        place = torch.arange(rows, dtype=torch.int32, device=self._device)
        moved = (2 * heads + 2 * shape.keys) * rows * shape.size * item
        scales = turns[:, 0, 0].contiguous()
        yield Case("rotary", rows, moved, 0, partial(rotate_and_keep, projected, turns, scales, place, place, pages))

    def _attention(self, rows: int, context: int) -> Case:
        shape, item = self._shape, self._dtype.itemsize
        fresh = self._random(rows, shape.queries + 2 * shape.keys, shape.size)
        count = -(-context // PAGE)
        pages = self._random(count, PAGE, 2, shape.keys, shape.size)
        table = torch.randperm(count, generator=self._generator, device=self._device)[None]
        limit = torch.arange(context - rows + 1, context + 1)
        seen = Rows(self._ints(limit), self._ints([CLEAN] * rows), self._ints([[0, rows, 0]]), self._ints(table), context)
        moved = (context * 2 * shape.keys + rows * 2 * shape.queries) * shape.size * item
        work = 4 * rows * context * shape.queries * shape.size
        return Case(f"attention over {context}", rows, moved, work, partial(paged_attention, fresh, pages, seen))


def measured(case: Case) -> Measured:
    """The case's median time on the current CUDA device."""
    time = seconds(case.run)
    return Measured(case.name, case.rows, time, case.bytes / time, case.operations / time)


def ceilings() -> Ceilings:
    """What the current CUDA device reaches without our help."""
    return Ceilings(_copied(), _multiplied())


def _copied() -> float:
    source, target = (torch.zeros(COPY_BYTES, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * COPY_BYTES / seconds(partial(target.copy_, source))


def _multiplied() -> float:
    left, right = (torch.randn(PRODUCT_SIDE, PRODUCT_SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return float(2 * PRODUCT_SIDE**3 / seconds(partial(torch.mm, left, right)))


def seconds(run: Callable[[], object]) -> float:
    """Median seconds of one call on the current CUDA device, the cache full of something else before each."""
    flush = torch.zeros(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    for _ in range(WARM_UP):
        run()
    event = partial(torch.cuda.Event, enable_timing=True)
    times: list[float] = []
    for _ in range(CALLS):
        flush.zero_()
        before, after = event(), event()
        before.record()
        run()
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after) / 1000)
    return median(times)
