"""`palimpsest bench kernels` as it runs: what each kernel takes of a processor, and what it reaches on this machine's GPU.

Without a CUDA device nothing is measured and nothing is estimated: the figures are null, and the table says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from gateway.bench.errors import BenchError
from kernels.ahead import CAPABILITIES, EIGHT_B, Compiled, CompilerMissing, compiled, specimens
from kernels.measure import Bench, Ceilings, Measured, ceilings, cuda, measured

NOT_MEASURED: Final = "not measured"
NO_DEVICE: Final = "no CUDA device"
DEFINITIONS: Final = {
    "bytes_per_second": "bytes that the work needs (weights, keys, values, rows in and out, each once) per second",
    "operations_per_second": "floating-point operations that the work needs per second, a multiply-add being two",
    "ceilings": "a device copy of 2 GiB, read and written bytes, and a bfloat16 product of side 8192, in the same run",
    "stack_bytes": "bytes of a thread's stack, where spilled registers lie: 0 is no spill",
}


def run(compile_all: bool, console: Console) -> dict[str, Any]:
    """The whole benchmark with its tables on `console`; returns the JSON. Raises BenchError where nothing can compile."""
    try:
        built = _compiled(console) if compile_all else None
    except CompilerMissing as error:
        raise BenchError(str(error)) from error
    device = cuda()
    reached: list[Measured] = []
    top: Ceilings | None = None
    if device is not None:
        top = ceilings()
        reached = [measured(case) for case in Bench(EIGHT_B, device.torch).cases()]
        console.print(_reached_table(device.name, top, reached))
    else:
        console.print(f"kernels on a GPU: {NOT_MEASURED}, {NO_DEVICE}")
    return {
        "device": None if device is None else device.name,
        "reason": NO_DEVICE if device is None else None,
        "shape": asdict(EIGHT_B),
        "versions": {name: _version(name) for name in ("torch", "triton", "palimpsest")},
        "definitions": DEFINITIONS,
        "ceilings": None if top is None else asdict(top),
        "rows": None if top is None else [_row(each, top) for each in reached],
        "compiled": None if built is None else [asdict(each) for each in built],
    }


def _compiled(console: Console) -> list[Compiled]:
    """Every kernel for every GPU, told as it is done."""
    found: list[Compiled] = []
    for specimen in specimens():
        console.print(f"compiling: {specimen.name}", style="dim")
        found += [compiled(specimen, capability) for capability in CAPABILITIES]
    console.print(_compiled_table(found))
    return found


def _compiled_table(found: Sequence[Compiled]) -> Table:
    table = Table(title="registers a thread / stack bytes a thread / shared bytes a program", box=SIMPLE, pad_edge=False)
    table.add_column("kernel", no_wrap=True)
    for capability in CAPABILITIES:
        table.add_column(f"sm_{capability}", justify="right")
    for name in dict.fromkeys(each.name for each in found):
        cells = (f"{each.registers} / {each.stack_bytes} / {each.shared_bytes}" for each in found if each.name == name)
        table.add_row(name, *cells)
    return table


def _row(each: Measured, top: Ceilings) -> dict[str, Any]:
    return {
        **asdict(each),
        "share_of_copy": each.bytes_per_second / top.bytes_per_second,
        "share_of_product": each.operations_per_second / top.operations_per_second,
    }


def _reached_table(name: str, top: Ceilings, reached: Sequence[Measured]) -> Table:
    caption = f"{name}: copy {top.bytes_per_second / 1e12:.2f} TB/s, product {top.operations_per_second / 1e12:.0f} TFLOP/s"
    table = Table(title="kernels beside the ceilings of this run", caption=caption, box=SIMPLE, pad_edge=False)
    table.add_column("kernel", no_wrap=True)
    for head in ("rows", "us", "GB/s", "of copy", "TFLOP/s", "of product"):
        table.add_column(head, justify="right")
    for each in reached:
        row = _row(each, top)
        table.add_row(
            each.name,
            str(each.rows),
            f"{each.seconds * 1e6:.1f}",
            f"{each.bytes_per_second / 1e9:.0f}",
            f"{row['share_of_copy']:.0%}",
            f"{each.operations_per_second / 1e12:.1f}",
            f"{row['share_of_product']:.0%}",
        )
    return table


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
