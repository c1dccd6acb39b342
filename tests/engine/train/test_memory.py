"""A training keeps its memory: measured in a process of its own, since what it asks of the C library holds until the end."""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

from engine.train.memory import kept

EAGER = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""The C library as it begins; later it guesses, now so and now so."""
FAULTS = """
import resource
import sys
from contextlib import nullcontext

import torch

from engine.train.memory import kept

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

with kept() if sys.argv[1] == "kept" else nullcontext():
    before = []
    for _ in range(12):
        together = [torch.ones(4_000_000) for _ in range(12)]
        del together
        before.append(faults())
print(before[-1] - before[1])
"""

LARGE_PAGES = """
from engine.train.memory import in_large_pages

in_large_pages()
import torch

made = torch.ones(25_000_000)
with open("/proc/self/smaps_rollup") as told:
    print(next(int(line.split()[1]) for line in told if line.startswith("AnonHugePages:")))
"""
OFFERED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def faults(how: str) -> int:
    """Page faults of ten rounds of twelve tensors of 16 MB, all gone before the next round."""
    found = subprocess.run(
        [sys.executable, "-c", FAULTS, how],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, **EAGER},
    )
    return int(found.stdout)


def test_a_large_block_is_found_only_once() -> None:
    """What was given back is taken again without the system's help; else each costs its pages anew, as another libc has it."""
    pages = 10 * 12 * 16_000_000 // resource.getpagesize()
    if platform.libc_ver()[0] != "glibc":
        assert faults("kept") < pages * 1.1
        return
    assert faults("kept") < pages / 10 < pages * 0.9 < faults("plain")


def test_a_large_tensor_lies_in_large_pages() -> None:
    """Most of 100 MB does, in a process that asked for it before its first tensor, unless the system has none to give."""
    found = subprocess.run([sys.executable, "-c", LARGE_PAGES], capture_output=True, text=True, check=True, timeout=120)
    offered = OFFERED.exists() and "[never]" not in OFFERED.read_text()
    assert (int(found.stdout) > 50_000) is offered


def test_what_was_there_is_not_collected_and_afterwards_it_is() -> None:
    """Inside, the collector has put aside what it knew; behind it, also after an error, nothing is aside."""
    with kept():
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0
    with contextlib.suppress(KeyError), kept():
        raise KeyError
    assert gc.get_freeze_count() == 0
