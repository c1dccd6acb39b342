"""Opening a generation to be read: its records, the review made of them, and the law it was judged by. That it was read is on
record before anything of it is shown.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

import policies
from audit.acts import Access
from audit.header import Header
from audit.records import Body
from gateway.errors import NotHere
from gateway.house import House
from gateway.people.duties import READS_CONTENT
from gateway.people.names import Role
from gateway.recorded import records_of
from gateway.review.diffing import Part
from gateway.review.review import Review, review_of
from gateway.review.states import compared
from gateway.ui.reviewing.callers import CallerBook
from gateway.ui.reviewing.drawing import drawn
from gateway.ui.visitor import Visitor

"""Roles that may read an answer that is held, for an operator may break the glass; not the player of its drafts."""
LOOK_SECONDS: Final = 600.0
"""Within these a person who opens the same records again is still looking: that is one access."""
LOOKS_MOST: Final = 4096
Records: TypeAlias = tuple[tuple[Header, Body | None], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One generation as it is read: headers with bodies (None for what can no longer be read), and the law where known."""

    tenant: str
    generation: UUID
    records: Records
    review: Review
    document: policies.Document | None

    @property
    def bodies(self) -> tuple[Body, ...]:
        """What can be read."""
        return tuple(body for _, body in self.records if body is not None)

    @property
    def lost(self) -> int:
        """How many records can no longer be read."""
        return sum(body is None for _, body in self.records)

    @property
    def first_seq(self) -> int:
        """The first record."""
        return self.records[0][0].seq

    @property
    def last_seq(self) -> int:
        """The last record."""
        return self.records[-1][0].seq

    @property
    def policy_digest(self) -> bytes:
        """The policy that judged it."""
        return self.records[0][0].policy or b""


class ReadingRoom:
    """Opens generations for people; belongs to the event loop of its house."""

    def __init__(self, house: House, clock: Callable[[], float] = time.monotonic) -> None:
        self._house, self._clock = house, clock
        self.callers = CallerBook(house.registry)
        self._looks: OrderedDict[tuple[UUID, UUID, tuple[int, int]], float] = OrderedDict()

    async def open(
        self, visitor: Visitor, generation: UUID, why: str, roles: tuple[Role, ...] = READS_CONTENT
    ) -> Reading:  # fmt: skip
        """The generation of the tenant in view, once it is on record that this person, who has one of the roles, reads it.

        Raises NotHere, NotAllowed, NoReview, and what reading and writing the log raise.
        """
        visitor.require(*roles)
        records = await drawn(lambda: self._records(visitor.tenant, generation))
        if not records:
            raise NotHere("There is no generation of this id that you may see.")
        await self._record(visitor, generation, (records[0][0].seq, records[-1][0].seq), why)
        return await drawn(lambda: self._read(visitor.tenant, generation, records))

    async def compare(self, visitor: Visitor, generation: UUID, old: str, new: str) -> tuple[Reading, tuple[Part, ...]]:
        """The same, with the difference of two of its drafts."""
        reading = await self.open(visitor, generation, "compared drafts")
        return reading, await drawn(lambda: compared(reading.review, old, new))

    async def _record(self, visitor: Visitor, generation: UUID, span: tuple[int, int], why: str) -> None:
        look, now = (visitor.person.id, generation, span), self._clock()
        if now - self._looks.get(look, -LOOK_SECONDS) >= LOOK_SECONDS:
            access = Access(generation, *span, f"{why} in the pages", visitor.person.on_record)
            await self._house.lifecycle.record(visitor.tenant, access)
            self._looks[look] = now
            self._looks.move_to_end(look)
            while len(self._looks) > LOOKS_MOST:
                self._looks.popitem(last=False)

    def _records(self, tenant: str, generation: UUID) -> Records:
        with self._house.readers.tenant(tenant) as reader:
            return tuple(records_of(reader, self._house.keys, generation))

    def _read(self, tenant: str, generation: UUID, records: Records) -> Reading:
        bodies = [body for _, body in records if body is not None]
        review = review_of(bodies, self._house.intake.model.tokenizer.decode_bytes)
        return Reading(tenant, generation, records, review, self._law(tenant, records[0][0].policy))

    def _law(self, tenant: str, digest: bytes | None) -> policies.Document | None:
        """The document of this digest, None where this release cannot read it."""
        policy = None if digest is None else self._house.enactment.known(tenant, digest)
        return None if policy is None else policy.document
