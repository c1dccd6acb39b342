"""Where constraints are compiled: in a few threads of their own, so that one that takes seconds holds up no event loop.

Admission compiles a constraint to judge it; the engine compiles it again when it takes the request, should it have
forgotten it in between. Both go through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
A = TypeVar("A")

_THREADS: Final = ThreadPoolExecutor(2, "constraint")


async def beside_the_loop(work: Callable[[A], T], subject: A) -> T:
    """What `work(subject)` gives or raises; the loop runs on meanwhile. Work that has begun outlives a cancelled caller."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work, subject)
