"""Where readings are drawn: in a few threads of their own, since a long answer takes seconds to be read, laid out and written.

The loop serves everybody meanwhile, and its threads sign the log and look up keys: no reader waits there, however many read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
AT_ONCE: Final = 2
_THREADS: Final = ThreadPoolExecutor(AT_ONCE, "drawing")


async def drawn(work: Callable[[], T]) -> T:
    """What `work` gives or raises, in its turn. Work that has begun outlives a cancelled caller."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
