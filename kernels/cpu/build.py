"""Builds the C++ of this folder on first use, with the compiler that the machine has.

The library is kept in a folder of the user's own, under a name that says sources, flags and compiler, so that another source is
another file. Training's uses the OpenMP runtime that torch has already loaded: two runtimes would fight for the processors.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

SOURCES = Path(__file__).parent
_COMMON = ("-std=c++20", "-O3", "-fPIC", "-shared")
_WIDE = ("fma", "avx512f", "avx512bw", "avx512dq", "avx512vl")
_PATIENCE = 300.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """A file that becomes a library: `sets` are instruction sets, best first, of which the processor must have one whole.

    `threads` is what its own need of the compiler, `contract` says whether products and sums may become one rounding; `slower`
    and `lacking` are words for a warning.
    """

    file: str
    sets: tuple[tuple[str, ...], ...]
    threads: str
    contract: str
    slower: str
    lacking: str

    def flags(self) -> tuple[str, ...] | None:
        """For the compiler on this processor; None where it has none of the sets."""
        found = torch.cpu.get_capabilities()
        own = {**found, "fma": found.get("fma3")}
        usable = (each for each in self.sets if all(own.get(name.replace("avx512", "avx512_")) for name in each))
        best = next(usable, None)
        own_way = (self.threads, f"-ffp-contract={self.contract}")
        return None if best is None else (*_COMMON, *own_way, *(f"-m{name}" for name in best))


HALF = Source("forward.cpp", ((*_WIDE, "avx512bf16"),), "-pthread", "off", "decoding", "AVX-512 with bfloat16")
SINGLE = Source("forward.cpp", (_WIDE, ("fma", "avx2")), "-pthread", "off", "decoding", "AVX2")
SPANS = Source("spans.cpp", (_WIDE, ("fma", "avx2")), "-fopenmp", "fast", "training", "AVX2")


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """The compiled kernels and the SHA-256 of their file, in hex."""

    calls: ctypes.CDLL
    digest: str


@cache
def library(source: Source) -> Library | None:
    """The compiled kernels of a source, or None where processor or compiler is missing; says why, once."""
    compiler, flags = next(filter(None, map(shutil.which, ("g++", "clang++"))), None), source.flags()
    try:
        if compiler is None:
            raise OSError("there is no C++ compiler; install g++ or clang")
        if flags is None:
            raise OSError(f"the processor has no {source.lacking}")
        found = _built(compiler, source, flags)
        return Library(ctypes.CDLL(str(found)), hashlib.sha256(found.read_bytes()).hexdigest())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: whose home is nowhere
        _log.warning("without the compiled %s, %s is several times slower: %s", source.file, source.slower, error)
        return None


def _built(compiler: str, source: Source, flags: tuple[str, ...]) -> Path:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=_PATIENCE).stdout
    digest = hashlib.sha256(b"\0".join((version, source.file.encode(), " ".join(flags).encode())))
    for part in sorted(SOURCES.glob("*.[hc]*")):
        digest.update(part.name.encode() + b"\0" + part.read_bytes())
    folder = _folder()
    found = folder / f"{digest.hexdigest()}.so"
    if not found.exists():
        _compile([compiler, *flags, str(SOURCES / source.file)], found)
    return found


def _folder() -> Path:
    """Where libraries are kept; whoever could write there could run code as us."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palimpsest"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise PermissionError(f"{folder} may be written by others: give it to this user alone (chmod 700)")
    return folder


def _compile(command: list[str], target: Path) -> None:
    """Whole or not at all, also when two processes start at once."""
    handle, made = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
    os.close(handle)
    try:
        done = subprocess.run([*command, "-o", made], capture_output=True, text=True, check=False, timeout=_PATIENCE)
        if done.returncode:
            raise OSError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
        Path(made).replace(target)
    finally:
        Path(made).unlink(missing_ok=True)
