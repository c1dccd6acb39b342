"""Builds the C++ of this folder on first use, with the compiler that the machine has.

The library is kept in a folder of the user's own, under a name that says sources, flags and compiler, so that another source is
another file. It uses the OpenMP runtime that torch has already loaded: two runtimes would fight for the processors.
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
FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-shared", "-fopenmp", "-ffp-contract=off"),
    *("-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16"),
)
_PATIENCE = 300.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """The compiled kernels and the SHA-256 of their file, in hex."""

    calls: ctypes.CDLL
    digest: str


@cache
def library() -> Library | None:
    """The compiled kernels, or None where processor or compiler is missing; says why, once."""
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++"))), None)
    if compiler is None or not _has_instructions():
        missing = "the processor has no AVX-512 with bfloat16" if compiler else "there is no C++ compiler; install g++ or clang"
        _log.warning("without compiled kernels, decoding is several times slower: %s", missing)
        return None
    try:
        found = _built(compiler)
        return Library(ctypes.CDLL(str(found)), hashlib.sha256(found.read_bytes()).hexdigest())
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("the kernels could not be compiled, so decoding is several times slower: %s", error)
        return None


def _has_instructions() -> bool:
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") and found.get("avx512_bw") and found.get("avx512_vl"))


def _built(compiler: str) -> Path:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=_PATIENCE).stdout
    digest = hashlib.sha256(b"\0".join((version, " ".join(FLAGS).encode())))
    for source in sorted(SOURCES.glob("*.[hc]*")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    folder = _folder()
    found = folder / f"{digest.hexdigest()}.so"
    if not found.exists():
        _compile(compiler, found)
    return found


def _folder() -> Path:
    """Where libraries are kept; whoever could write there could run code as us."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palimpsest"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if state.st_uid != os.geteuid() or state.st_mode & 0o022:
        raise PermissionError(f"{folder} may be written by others: give it to this user alone (chmod 700)")
    return folder


def _compile(compiler: str, target: Path) -> None:
    """Whole or not at all, also when two processes start at once."""
    handle, made = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
    os.close(handle)
    command = [compiler, *FLAGS, str(SOURCES / "forward.cpp"), "-o", made]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
        if done.returncode:
            raise OSError(f"{compiler} ended with {done.returncode}: {done.stderr[-2000:]}")
        Path(made).replace(target)
    finally:
        Path(made).unlink(missing_ok=True)
