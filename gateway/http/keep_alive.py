"""Signs of life on a stream that says nothing for a while: a client's idle timer must not end a wait that we know of.

What counts as alive differs by dialect, so the beat is the dialect's own: Codex counts data events alone, old Claude Code
no comment, chat clients stumble over a chunk without choices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

BEAT_SECONDS: Final = 10.0
"""Well below the shortest idle limit that was measured among clients, 300 s, and those of proxies, 30 s and more."""


async def kept_alive(
    events: AsyncIterator[bytes], beat: Callable[[], bytes], seconds: float = BEAT_SECONDS
) -> AsyncGenerator[bytes, None]:
    """The events that say something as they come, together where several have come, and a beat after `seconds` without one.

    They are asked for by one task, ahead of a client that reads slowly. Raises what `events` raises, after what came before.
    """
    ready, news = list[bytes](), asyncio.Event()
    asking = asyncio.ensure_future(_ask(events, ready, news))
    asking.add_done_callback(lambda _: news.set())
    try:
        while ready or not asking.done():
            if ready:
                said = b"".join(ready)
                ready.clear()
                yield said
            elif not await _within(seconds, news):
                yield beat()
        asking.result()
    finally:
        asking.cancel()


async def _ask(events: AsyncIterator[bytes], ready: list[bytes], news: asyncio.Event) -> None:
    async for event in events:
        if event:
            ready.append(event)
            news.set()


async def _within(seconds: float, news: asyncio.Event) -> bool:
    """Whether there is something new, in so many seconds at most."""
    news.clear()
    try:
        async with asyncio.timeout(seconds):
            return await news.wait()
    except TimeoutError:
        return False
