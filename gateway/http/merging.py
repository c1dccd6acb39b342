"""Several streams as one, in the order in which they have something to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")


async def merged(streams: Sequence[AsyncIterator[T]]) -> AsyncIterator[tuple[int, T]]:
    """Each item with the number of its stream, until all have ended. Raises what a stream raises, when it does."""
    if len(streams) == 1:  # nearly always, and then there is nobody to wait for beside it
        async for only in streams[0]:
            yield 0, only
        return
    ahead = {asyncio.ensure_future(_next(stream)): place for place, stream in enumerate(streams)}
    try:
        while ahead:
            done, _ = await asyncio.wait(ahead, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=ahead.__getitem__):
                place, item = ahead.pop(task), task.result()
                if item is not None:
                    ahead[asyncio.ensure_future(_next(streams[place]))] = place
                    yield place, item
    finally:
        for task in ahead:
            task.cancel()


async def _next(stream: AsyncIterator[T]) -> T | None:
    return await anext(stream, None)
