"""Numeric policies: how a pass multiplies, attends and rounds, and what to call it in a record.

`strict`: float32. A row's logits depend on its own sequence alone, never on its neighbours or on where it stands.
`fast`: bfloat16 where the processor has it, else float32, and no such promise.

Where there is a compiler both are one compiled call per pass (`engine/native.py`), whose bits no number of threads changes. By
the library `strict` has linears in tiles of 32 rows and attention in calls of 32 queries by 256 keys: elementwise kernels of
torch round differently in a vector's ragged tail, which whole tiles on at most `STRICT_THREADS` threads never leave. `fast`
has whatever matmul the library likes and one padded attention call per group. On a CUDA device both are `engine.device`'s.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch

import kernels
from engine.attend import GroupedAttention, TiledAttention
from engine.device import OnDevice
from engine.library import Library, LibraryPass
from engine.model.network import HOST, plain_linear
from engine.request import Numeric
from kernels.jit import INTERPRETED
from kernels.linear import padded_rows, tiled_linear

STRICT_THREADS = 2
FREE_ROWS, ROW_STEP = 32, 16


Arithmetic = Library | OnDevice
"""What a numeric policy decides."""

STRICT: Final = Library(
    numeric=Numeric.STRICT,
    dtype=torch.float32,
    linear=tiled_linear,
    padded=padded_rows,
    attention=TiledAttention,
    most_threads=STRICT_THREADS,
)
"""Exact: same bits alone or in any company."""


def fast(dtype: torch.dtype | None = None) -> Library:
    """Quick: bits may depend on the batch. `dtype` None: bfloat16 if the processor multiplies it natively, else float32."""
    found = torch.cpu.get_capabilities()
    native = torch.bfloat16 if found.get("avx512_bf16") or found.get("amx_bf16") else torch.float32
    return Library(
        numeric=Numeric.FAST,
        dtype=dtype or native,
        linear=plain_linear,
        padded=_stepped,
        attention=GroupedAttention,
    )


def _stepped(rows: int) -> int:
    """Few rows as they are, more in steps: the library compiles a bfloat16 product anew for every row count it meets."""
    return rows if rows <= FREE_ROWS else -(-rows // ROW_STEP) * ROW_STEP


def arithmetic(numeric: Numeric, device: torch.device = HOST) -> Arithmetic:
    """The policy of that name as this machine, or a device of it, can do it."""
    if device.type != HOST.type:
        return OnDevice(numeric, device)
    return STRICT if numeric is Numeric.STRICT else fast()


def dtype_name(dtype: torch.dtype) -> str:
    """As records write it: `float32`, `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def numeric_fingerprint(chosen: Arithmetic, made_with: str) -> str:
    """SHA-256 in hex over all that, beside weights and request, may change a token or a draft: equal ones replay exactly.

    `made_with` is the `kernels` of the pass that runs.
    """
    digest = hashlib.sha256()
    facts = (
        chosen.device.type,
        torch.__version__,
        torch.get_num_threads() if made_with == LibraryPass.kernels else "any number of threads",
        dtype_name(chosen.dtype),
        chosen.numeric,
        made_with + " interpreted" * INTERPRETED,
        torch.backends.cpu.get_cpu_capability(),
        version("llguidance"),
    )
    digest.update("\n".join(map(str, facts)).encode())
    for folder in (*map(Path, sorted(kernels.__path__)), Path(__file__).parent):
        for name, source in sorted((source.relative_to(folder), source) for source in folder.rglob("*.py")):
            if name.parts[0] != "train":
                digest.update(name.as_posix().encode() + b"\0" + hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()
