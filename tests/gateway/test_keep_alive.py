"""Signs of life: a stream that waits is heard, and one that is left is left at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.http.keep_alive import kept_alive
from tests.waiting import until

BEAT = b": here\n\n"


async def slow(gate: asyncio.Event, closed: list[str]) -> AsyncIterator[bytes]:
    """One event, a wait, and another."""
    try:
        yield b"first"
        await gate.wait()
        yield b"second"
    finally:
        closed.append("closed")


async def test_a_wait_is_filled_with_beats() -> None:
    """Beats come while nothing else does, and never instead of an event."""
    gate, closed, got = asyncio.Event(), list[str](), list[bytes]()
    async for data in kept_alive(slow(gate, closed), lambda: BEAT, seconds=0.01):
        got.append(data)
        if got.count(BEAT) == 3:
            gate.set()
    assert (got[0], got[-1], set(got[1:-1])) == (b"first", b"second", {BEAT})
    assert closed == ["closed"]


async def test_what_has_come_leaves_together() -> None:
    """Events that were there while nobody took any are one piece, in their order; one that says nothing is none."""

    async def quick() -> AsyncIterator[bytes]:
        for event in (b"a", b"", b"b", b"c"):
            yield event

    assert [data async for data in kept_alive(quick(), lambda: BEAT)] == [b"abc"]


async def test_a_reader_that_leaves_closes_what_it_read() -> None:
    """Cancelled in the middle of a wait, the events are told at once."""
    gate, closed, got = asyncio.Event(), list[str](), list[bytes]()

    async def reading() -> None:
        async for data in kept_alive(slow(gate, closed), lambda: BEAT, seconds=0.01):
            got.append(data)

    task = asyncio.create_task(reading())
    await until(lambda: BEAT in got)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: closed == ["closed"])


async def test_a_fault_comes_through() -> None:
    """What the events raise, the reader gets."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("broken")

    events = kept_alive(broken(), lambda: BEAT)
    assert await anext(events) == b"first"
    with pytest.raises(RuntimeError, match="broken"):
        await anext(events)
