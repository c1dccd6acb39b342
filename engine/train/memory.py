"""What a long run of steps asks of its process, so that it spends its time on arithmetic.

Every step takes and gives back the same few hundred megabytes. By default the C library returns large blocks to the system at
once, which has to clear each page again before the next step writes to it; and Python's collector, woken by the many small
objects of a backward pass, reads all modules through each time. In runs side by side on two cores the two took a tenth and a
twelfth of a joint step (November 2026). And what is read and written in pages of 4 KB is looked up anew all the time: gigabytes
of it in large pages made the steps of a run that was under way a seventh quicker.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from torch.utils.checkpoint import checkpoint

from engine.model.network import Network

# malloc.h of glibc: the options, and the largest values that it takes for them.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_LARGEST_MMAP: Final = 32 * 1024 * 1024
_NEVER: Final = 2**31 - 1


def in_large_pages() -> None:
    """Have torch put every tensor of 2 MB or more into large pages, where the system gives some to those who ask.

    To be called before the first tensor of the process is made, for torch asks only then.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def recompute(network: Network) -> None:
    """Have the backward pass compute the inside of each layer again, so that only its input is kept."""
    for layer in network.layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


@contextmanager
def kept() -> Iterator[None]:
    """Inside, large blocks stay with the process, and what is there already is not collected.

    The first holds until the process ends, since the C library offers no way to ask for what was before; where it is not
    glibc, only the second.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_MMAP_THRESHOLD, _LARGEST_MMAP)
        tune(_TRIM_THRESHOLD, _NEVER)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
