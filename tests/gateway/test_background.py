"""An answer in the background: every reader gets all of it, whenever it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway.background import Transcript
from gateway.errors import EngineDown
from gateway.pieces import Failed, Made, Text

PIECES: tuple[Made, ...] = (Text("a"), Text("b"), Text("c"), Failed(EngineDown("over")))


async def test_readers_get_everything_from_the_beginning() -> None:
    """One who reads from the start, one who comes in the middle and one who comes late get the same pieces."""
    transcript = Transcript()
    gates = [asyncio.Event() for _ in PIECES]

    async def source() -> AsyncIterator[Made]:
        for gate, piece in zip(gates, PIECES, strict=True):
            await gate.wait()
            yield piece

    async def read() -> list[Made]:
        return [piece async for piece in transcript.pieces()]

    filling = asyncio.create_task(transcript.fill(source()))
    early = asyncio.create_task(read())
    gates[0].set()
    gates[1].set()
    middle = asyncio.create_task(read())
    await asyncio.sleep(0)
    gates[2].set()
    gates[3].set()
    await filling
    assert await early == await middle == await read() == list(PIECES)


async def test_a_reader_that_leaves_takes_nothing_with_it() -> None:
    """Cancelling one reader changes nothing for the answer and for the others."""
    transcript, gate = Transcript(), asyncio.Event()

    async def source() -> AsyncIterator[Made]:
        yield PIECES[0]
        await gate.wait()
        for piece in PIECES[1:]:
            yield piece

    async def read() -> list[Made]:
        return [piece async for piece in transcript.pieces()]

    filling, leaving, staying = (asyncio.create_task(each) for each in (transcript.fill(source()), read(), read()))
    await asyncio.sleep(0)
    leaving.cancel()
    gate.set()
    await filling
    assert await staying == list(PIECES) and leaving.cancelled()
