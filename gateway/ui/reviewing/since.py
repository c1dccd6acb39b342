"""What became of an answer since the person who opens it read it last: by the accesses and the cycles on record."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from audit.approvals import ApprovalOpened
from gateway.house import House
from gateway.ui.reviewing.reading import Reading
from gateway.ui.visitor import Visitor


@dataclass(frozen=True, slots=True)
class Since:
    """A cycle that was read and the one that is open now; `old` and `new` are the names of their texts among the drafts."""

    read: int
    now: int
    old: str
    new: str

    @property
    def same(self) -> bool:
        """Whether the text is the one that was read."""
        return self.old == self.new


async def since_read(house: House, visitor: Visitor, reading: Reading) -> Since | None:
    """What the person read before the cycle that is open now began; None for somebody who had read nothing then."""
    cycles = {header.seq: body.cycle for header, body in reading.records if isinstance(body, ApprovalOpened)}
    began, now = max(cycles.items())
    if now == 1:
        return None
    looks, me = house.views.looks, visitor.person.on_record
    last = await asyncio.to_thread(looks.newest_before, reading.tenant, reading.generation, me, began)
    if last is None:
        return None
    read = max((cycle for seq, cycle in cycles.items() if seq <= last), default=1)
    return Since(read, now, _draft(reading, read), _draft(reading, now))


def _draft(reading: Reading, cycle: int) -> str:
    """The text of a cycle: the newest edit until then, else what was generated."""
    edited = [number for number in reading.review.edits if number <= cycle]
    return f"cycle-{max(edited)}" if edited else "answer"
