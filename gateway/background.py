"""Answers that are made while nobody waits, and can be read while they are made: by anyone who asks, from the beginning.

Only what runs now is kept here, in memory; an answer that has ended is read from its records (`recall.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from gateway.generation import Generation
from gateway.pieces import Made, Text

T = TypeVar("T")


class Transcript:
    """The pieces of a running answer, for any number of readers. Lives on the event loop."""

    def __init__(self) -> None:
        self._pieces: list[Made] = []
        self._news = asyncio.Event()

    async def pieces(self) -> AsyncIterator[Made]:
        """All pieces from the first; the last is an Ended, a Failed or a Held."""
        place = 0
        while True:
            news = self._news
            while place < len(self._pieces):
                piece = self._pieces[place]
                place += 1
                yield piece
                if not isinstance(piece, Text):
                    return
            await news.wait()

    async def fill(self, pieces: AsyncIterator[Made]) -> None:
        """Take every piece of one answer."""
        async for piece in pieces:
            self._pieces.append(piece)
            news, self._news = self._news, asyncio.Event()
            news.set()


@dataclass(slots=True)
class Running(Generic[T]):
    """An answer in the making, whose it is, and what its dialect needs in order to tell it."""

    tenant: str
    generation: Generation
    head: T
    transcript: Transcript = field(default_factory=Transcript)
    cancelled: bool = False

    async def cancel(self) -> None:
        """Stop the work; returns when the answer has ended and is on record."""
        self.cancelled = True
        self.generation.leave()
        await self.ended()

    async def ended(self) -> None:
        """Returns when its last piece is there."""
        async for _ in self.transcript.pieces():
            pass


class Background(Generic[T]):
    """What runs in the background of this process, by generation."""

    def __init__(self) -> None:
        self._running: dict[UUID, Running[T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, generation: Generation, head: T, pieces: AsyncIterator[Made]) -> Running[T]:
        """Keep an answer's pieces as they come, until it has ended."""
        running = Running(generation.admitted.tenant, generation, head)
        self._running[generation.id] = running
        task = asyncio.create_task(running.transcript.fill(pieces))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._running.pop(generation.id, None))
        return running

    def find(self, tenant: str, generation: UUID) -> Running[T] | None:
        """What runs under this id, if it is this tenant's; whose of the tenant it is, is for the caller to look at."""
        found = self._running.get(generation)
        return found if found is not None and found.tenant == tenant else None
