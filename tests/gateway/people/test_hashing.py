"""Where passwords are hashed: a few at once, a short line before them, and nobody else's threads."""

from __future__ import annotations

import asyncio

import pytest

from gateway.people.hashing import Crowded, Line, in_turn
from tests.gateway.people.crowding import crowded


async def test_a_full_line_turns_away_at_once() -> None:
    """Whoever finds a line full hears so at once, with when to come again; those of the other line still get their turn."""
    async with crowded(Line.STRANGERS):
        with pytest.raises(Crowded) as told:
            await in_turn(Line.STRANGERS, list)
        assert told.value.status == 429 and int(told.value.headers()["retry-after"]) > 0
        signed_in = asyncio.create_task(in_turn(Line.PEOPLE, lambda: "proved"))
        await asyncio.sleep(0)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "signed"), 5) == "signed", "the loop's own threads are free"
    assert await signed_in == "proved"


async def test_a_place_is_given_back_however_the_work_ends() -> None:
    """Work that fails and work that nobody waits for any more leave the line as it was."""
    for _ in range(40):
        with pytest.raises(ZeroDivisionError):
            await in_turn(Line.STRANGERS, lambda: 1 // 0)
    async with crowded(Line.PEOPLE):
        for _ in range(3):
            left: list[asyncio.Task[list[object]]] = [asyncio.create_task(in_turn(Line.STRANGERS, list)) for _ in range(10)]
            await asyncio.sleep(0)
            for each in left:
                each.cancel()
            ended = await asyncio.gather(*left, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    async with crowded(Line.STRANGERS) as work:
        assert not any(each.done() for each in work)
