"""Every kernel compiled ahead of time for a GPU that nobody here has: does it build, and does it fit the processor?

Triton's compiler needs no device. What a kernel takes is read from the machine code itself, by the disassembler that comes
with Triton: registers of a thread and bytes of its stack (spilled registers live there, so 0 means no spill); the shared memory
of a program is the compiler's own word.
Shapes are those of the 8B model in bfloat16.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kernels import accept, head, linear, lora, noise, norm, paged, rotary, swiglu
from kernels.jit import HAS_TRITON, INTERPRETED, Build

CAPABILITIES = (80, 90, 100)
"""A100, H100 and H200, B200."""
WARP = 32


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a network: hidden and inner width, query and key heads of so many numbers, vocabulary, rank of the LoRA."""

    hidden: int
    inner: int
    queries: int
    keys: int
    size: int
    vocab: int
    rank: int
    eps: float = 1e-5


EIGHT_B = Shape(hidden=4096, inner=14336, queries=32, keys=8, size=128, vocab=131072, rank=128)

_HALF, _FLOAT, _INT, _LONG, _BOOL, _NUMBER = "*bf16", "*fp32", "*i32", "*i64", "*i1", "i32"
_USAGE = re.compile(r"REG:(?P<registers>\d+) STACK:(?P<stack>\d+)")


class CompilerMissing(RuntimeError):
    """There is no compiler for kernels here."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """A kernel as the 8B model calls it; `types` of its run-time arguments in order, as Triton writes them."""

    name: str
    build: Build
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a build takes: registers a thread, stack bytes a thread, shared bytes a program of `warps` warps."""

    name: str
    capability: int
    warps: int
    registers: int
    stack_bytes: int
    shared_bytes: int


def specimens() -> list[Specimen]:
    """Every kernel of this room as the 8B model calls it, the head with noise and grammar and without."""
    shape = EIGHT_B
    hidden, queries, keys, size = shape.hidden, shape.queries, shape.keys, shape.size
    partials, merge = paged.builds(queries, keys, size)
    product, added = linear.builds(hidden, hidden)
    down, up = lora.builds(hidden, hidden, shape.rank)
    select, accepted = accept.builds(accept.BLOCK_MOST, 4)
    greedy, summed = head.builds(hidden, shape.vocab, heated=False, bounded=False)
    heated, _ = head.builds(hidden, shape.vocab, heated=True, bounded=True)
    summaries = (_FLOAT, _INT, _FLOAT, _FLOAT, _FLOAT, _FLOAT)
    picking = (_HALF, _HALF, _INT, _FLOAT, _LONG, _LONG, _INT, *summaries, _NUMBER, _NUMBER)
    held = (_FLOAT, _FLOAT, _FLOAT)
    return [
        Specimen("attention", partials, (_HALF, _HALF, _INT, _INT, _INT, _INT, *held, _NUMBER, _NUMBER)),
        Specimen("attention, merge", merge, (*held, _INT, _INT, _HALF, _NUMBER)),
        Specimen("head", greedy, picking),
        Specimen("head, noise and grammar", heated, picking),
        Specimen("head, merge", summed, (*summaries, _INT, _FLOAT, _FLOAT, _FLOAT)),
        Specimen("noise", noise.build(shape.vocab), (_LONG, _LONG, _FLOAT)),
        Specimen("select", select, (_INT, _BOOL, _INT, _FLOAT, _FLOAT, _INT, _INT, _INT)),
        Specimen("accept", accepted, (_INT, _INT, _INT, _FLOAT, _INT, _INT, _INT, _INT)),
        Specimen("rotary", rotary.build(queries, keys, size), (_HALF, _FLOAT, _FLOAT, _INT, _INT, _HALF, _HALF)),
        Specimen("norm", norm.build(hidden, shape.eps), (_HALF,) * 5),
        Specimen("silu-mul", swiglu.build(shape.inner), (_HALF, _HALF)),
        Specimen("linear", product, (_HALF, _HALF, _FLOAT, _NUMBER)),
        Specimen("linear, slices", added, (_FLOAT, _HALF, _NUMBER)),
        Specimen("lora, down", down, (_HALF, _HALF, _FLOAT, _HALF, _NUMBER)),
        Specimen("lora, up", up, (_HALF, _HALF, _HALF, _FLOAT, _NUMBER)),
    ]


def compiled(specimen: Specimen, capability: int) -> Compiled:
    """Compile for an NVIDIA GPU of this compute capability, 90 for 9.0. Raises CompilerMissing where Triton is not there."""
    if not HAS_TRITON or INTERPRETED:
        raise CompilerMissing("kernels are compiled by Triton: install it (Linux only), and leave TRITON_INTERPRET unset")

    import triton  # noqa: PLC0415 - only this command compiles without a device
    from triton.backends.compiler import GPUTarget  # noqa: PLC0415
    from triton.compiler import ASTSource  # noqa: PLC0415

    build = specimen.build
    signature = dict(zip(build.kernel.arg_names, specimen.types, strict=False))
    signature |= dict.fromkeys(build.constants, "constexpr")
    # As a call finds them: torch's memory is aligned.
    aligned = {(place,): [["tt.divisibility", 16]] for place, kind in enumerate(specimen.types) if kind.startswith("*")}
    source = ASTSource(build.kernel, signature, build.constants, aligned)
    made = triton.compile(source, target=GPUTarget("cuda", capability, WARP), options=build.options)
    registers, stack = _usage(made.asm["cubin"])
    return Compiled(specimen.name, capability, build.warps, registers, stack, made.metadata.shared)


def _usage(cubin: bytes) -> tuple[int, int]:
    """Registers and stack bytes of the one kernel in a cubin."""
    from triton.backends import nvidia  # noqa: PLC0415

    tool = Path(next(iter(nvidia.__path__)), "bin", "cuobjdump")
    if not tool.is_file():
        raise CompilerMissing(f"Triton came without {tool.name}, which reads registers from machine code: install its wheel")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True)
    found = _USAGE.search(done.stdout)
    if found is None:
        raise CompilerMissing(f"{tool.name} told no registers: this Triton's disassembler speaks otherwise")
    return int(found["registers"]), int(found["stack"])
