"""Work that must leave no threads behind: what is computed before the engine's own thread steps.

A thread that has once computed in parallel keeps its helpers for as long as it lives. From more of them than there are
processors on, OpenMP no longer lets any wait for the next product awake: each of a pass's hundreds of products then begins
with waking a thread, and on two processors a pass by the library takes 1.7 (`fast`) to 2.8 times as long (`strict`), whoever
steps. The compiled pass has helpers of its own (`kernels/cpu/hands.h`), whom this does not concern.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def apart(work: Callable[[], T]) -> T:
    """What `work` returns or raises, done in a thread of its own that ends, and its helpers with it."""
    with ThreadPoolExecutor(1, thread_name_prefix="apart") as hand:
        return hand.submit(work).result()
