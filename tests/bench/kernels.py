"""The GPU path on this machine's CUDA device: its laws first, then its speed.

    python -m tests.bench.kernels [--json FILE]

Every kernel against its definition at odd sizes and at the 8B model's, a row alone against the same row in company, and the
device's noise against the CPU's; the engine's own laws under `strict`; then what `palimpsest bench kernels --compile`
prints, what whole passes and the engine reach with the 8B model's shape, and all that beside what was asked. Exit status 1 if
a law is broken.
Without a CUDA device nothing of it is measured: the test suite holds the kernels to their laws in Triton's interpreter, in
float32.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from engine.device import OnDevice
from gateway.bench.errors import BenchError
from gateway.bench.kernels import NOT_MEASURED, run
from gateway.json_file import write_json
from kernels.ahead import EIGHT_B, Shape
from kernels.head import Asked, Heat, pick, pick_reference
from kernels.linear import linear_reference, tiled_linear
from kernels.lora import gated_lora, gated_lora_reference
from kernels.measure import Ceilings, cuda
from kernels.noise import gumbel, gumbel_reference
from kernels.norm import add_rms_norm, add_rms_norm_reference
from kernels.paged import CLEAN, PAGE, Rows, paged_attention, paged_attention_reference
from kernels.swiglu import silu_mul, silu_mul_reference
from tests.bench.engine_laws import EngineLaws
from tests.bench.laws import Law, judge
from tests.bench.passes import EIGHT_B_CONFIG, reached
from tests.bench.targets import QUICK, SLOW, figures, table
from tests.engine.harness import loaded
from tests.engine.small import random_network, small_config

ODD = Shape(hidden=90, inner=70, queries=6, keys=2, size=24, vocab=300, rank=5)
WIDE, TOKENS = replace(small_config(layers=3), hidden_size=256, head_dim=64, intermediate_size=512), 48
"""The network of the engine's laws, random weights, and how much it says."""
TOKENS_TIMED = 160
"""How much is said where the engine is timed."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""Largest difference allowed, as a part of the largest value."""


class Laws:
    """The laws over random inputs of one shape, on one device."""

    def __init__(self, shape: Shape, device: torch.device, dtype: torch.dtype) -> None:
        self._shape, self._device, self._dtype = shape, device, dtype
        self._generator = torch.Generator(device).manual_seed(1)

    def all(self) -> Iterator[Law]:
        """Every law, each with inputs of its own."""
        for name, law in (
            ("a product is its definition, and its rows feel no company", self._linear),
            ("attention is its definition, and its rows feel no company", self._attention),
            ("the head is its definition, and its rows feel no company", self._head),
            ("norm, gate and LoRA are their definitions", self._rowwise),
            ("the noise is that of the CPU, but for one last bit in ten million", self._noise),
        ):
            yield Law(f"{name} ({self._shape.hidden} wide)", law)

    def _random(self, *sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=self._generator, device=self._device).to(self._dtype)

    def _ints(self, values: object) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=self._device)

    def _linear(self) -> str | None:
        x, weight = self._random(67, self._shape.hidden), self._random(self._shape.inner, self._shape.hidden)
        found = tiled_linear(x, weight)
        return self._far(found, linear_reference(x.float(), weight.float())) or differ(
            found[66], tiled_linear(x[66:], weight)[0]
        )

    def _attention(self) -> str | None:
        shape, context, rows = self._shape, 540, 6
        pages = self._random(-(-context // PAGE) + 1, PAGE, 2, shape.keys, shape.size)
        fresh = self._random(rows, shape.queries + 2 * shape.keys, shape.size)
        table = self._ints([list(range(1, len(pages)))])
        limits = [*range(context - 4, context), *(context,) * 2]
        groups = self._ints([*(CLEAN,) * 4, 0, 1])
        seen = Rows(self._ints(limits), groups, self._ints([[0, 4, 0], [4, 2, 0]]), table, context)
        found = paged_attention(fresh, pages, seen)
        alone = Rows(self._ints(limits[3:4]), groups[:1], self._ints([[0, 1, 0]]), table, limits[3])
        lone = paged_attention(fresh[3:4].contiguous(), pages, alone)[0]
        return self._far(found, paged_attention_reference(fresh.float(), pages.float(), seen)) or differ(found[3], lone)

    def _head(self) -> str | None:
        hidden, weight = self._random(66, self._shape.hidden), self._random(self._shape.vocab, self._shape.hidden)
        target = self._ints([*range(-1, 65)])
        long = torch.arange(66, device=self._device)
        heat = Heat((long % 3).float() / 2, long * 977, long)
        found = pick(hidden, weight, Asked(3, target, heat))
        wanted = pick_reference(hidden, weight, Asked(3, target, heat))
        lone = pick(hidden[63:64].contiguous(), weight, Asked(3, target[63:64].contiguous()))
        same = float((found.token == wanted.token).float().mean())
        if same < 0.95:
            return f"only {same:.0%} of the tokens are those of the definition"
        return self._far(found.lse, wanted.lse) or differ(found.lse[63], lone.lse[0]) or differ(found.token[63], lone.token[0])

    def _rowwise(self) -> str | None:
        shape = self._shape
        x, found, weight = self._random(33, shape.hidden), self._random(33, shape.hidden), self._random(shape.hidden)
        normed, wanted = (norm(x, found, weight, 1e-5)[1] for norm in (add_rms_norm, add_rms_norm_reference))
        opened = self._random(33, 2 * shape.inner)
        down, up = self._random(shape.rank, shape.hidden), self._random(shape.hidden, shape.rank)
        gate = (torch.arange(33, device=self._device) % 2).float()
        drafted = gated_lora_reference(found.float(), x.float(), down.float(), up.float(), gate)
        return (
            self._far(normed, wanted)
            or self._far(silu_mul(opened), silu_mul_reference(opened.float()))
            or self._far(gated_lora(found.clone(), x, down, up, gate), drafted)
        )

    def _noise(self) -> str | None:
        keys, positions = torch.tensor([5, -(1 << 62)]), torch.tensor([1 << 40, 3])
        there = gumbel(keys.to(self._device), positions.to(self._device), self._shape.vocab).cpu()
        here = gumbel_reference(keys, positions, self._shape.vocab)
        torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-6)
        apart = int((there != here).sum())
        return None if apart <= there.numel() / 1e7 else f"{apart} of {there.numel()} values differ"

    def _far(self, found: Tensor, wanted: Tensor) -> str | None:
        """How far two tensors are apart, where that is too far."""
        apart = float((found.float() - wanted.float()).abs().max() / wanted.float().abs().max())
        return None if apart <= TOLERANCE[self._dtype] else f"{apart:.2g} of the largest value apart"


def differ(one: Tensor, other: Tensor) -> str | None:
    """How many of the bits' holders differ, where any does."""
    apart = int((one != other).sum())
    return f"{apart} of {one.numel()} values are not the same bits" if apart else None


def main(arguments: list[str]) -> int:
    """The whole run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    file, console, device, broken = parser.parse_args(arguments).json, Console(), cuda(), 0
    if device is None:
        console.print(f"laws on a GPU: {NOT_MEASURED}, no CUDA device")
    else:
        say = partial(console.print, markup=False)
        drafting, bare = (loaded(random_network(WIDE, lora=lora)) for lora in (True, False))
        laws = [Laws(shape, device.torch, torch.bfloat16).all() for shape in (ODD, EIGHT_B)]
        laws.append(EngineLaws(drafting, bare, device.torch, torch.bfloat16, TOKENS).all())
        broken = sum(judge(each, say) for each in laws)
    document, whole, top = _kernels(console), None, None
    document |= {"date": datetime.now(UTC).date().isoformat(), "laws_broken": None if device is None else broken}
    if device is not None:
        write_json(file, document)  # what comes now takes minutes and most of the device's memory
        say, there = partial(console.print, style="dim", markup=False), device.torch
        whole = reached(EIGHT_B_CONFIG, lambda numeric: OnDevice(numeric, there), (SLOW, QUICK), TOKENS_TIMED, say)
        top = Ceilings(**document["ceilings"])
    found = figures(whole, document["rows"], top)
    console.print(table(found))
    more = {"passes": None if whole is None else asdict(whole), "figures": [figure.row for figure in found]}
    write_json(file, {**document, **more})
    return 1 if broken else 0


def _kernels(console: Console) -> dict[str, Any]:
    """The kernels' own figures; where they cannot be compiled ahead of time, without what they take of a processor."""
    try:
        return run(compile_all=True, console=console)
    except BenchError as error:
        console.print(str(error), markup=False)
        return run(compile_all=False, console=console)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
