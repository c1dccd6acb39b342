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
    """The events that say something as they come, and a beat whenever `seconds` have passed without one.

    Raises what `events` raises.
    """
    ahead = asyncio.ensure_future(_next(events))
    try:
        while True:
            await asyncio.wait({ahead}, timeout=seconds)
            if not ahead.done():
                yield beat()
                continue
            event = ahead.result()
            if event is None:
                return
            ahead = asyncio.ensure_future(_next(events))
            if event:
                yield event
    finally:
        ahead.cancel()


async def _next(events: AsyncIterator[bytes]) -> bytes | None:
    return await anext(events, None)
