"""Content for people's eyes: that it is read is on record, as an access (kind 47), before any of it is shown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from audit.acts import Access
from audit.header import Header
from audit.records import Body
from gateway.api.visit import Visit
from gateway.errors import GatewayError, NotHere
from gateway.people.duties import READS_CONTENT
from gateway.recorded import records_of

NOTHING: str = "there is no such thing here that you may see"
LOST: str = "records of this generation can no longer be read: their keys were erased, or their bodies retired"


class Gone(GatewayError):
    """There was such content; it can no longer be read."""

    status = 410
    kind = "invalid_request_error"
    default_code = "content_gone"


@dataclass(frozen=True, slots=True)
class Opened:
    """The records of one generation, each with its body."""

    generation: UUID
    records: tuple[tuple[Header, Body], ...]


async def opened(visit: Visit, generation: UUID, what: str, first_seq: int = 0) -> Opened:
    """The records from `first_seq` on, once it is on record that this person reads `what` of them.

    Raises Forbidden, NotHere where there are none, Gone, and AuditError where the log cannot be read or cannot commit: then
    nothing is shown.
    """
    person = visit.person(*READS_CONTENT)
    found = await asyncio.to_thread(_read, visit, generation, first_seq)
    if not found:
        raise NotHere(NOTHING)
    access = Access(generation, found[0][0].seq, found[-1][0].seq, f"{what}, by the API", person.on_record)
    await visit.house.lifecycle.record(visit.tenant, access)
    records = tuple((header, body) for header, body in found if body is not None)
    if len(records) < len(found):
        raise Gone(LOST)
    return Opened(generation, records)


async def require_readable(visit: Visit, generation: UUID, first_seq: int = 0) -> None:
    """Raise Gone if a record from `first_seq` on can no longer be read. Nothing is shown, so nothing is recorded."""
    found = await asyncio.to_thread(_read, visit, generation, first_seq)
    if any(body is None for _, body in found):
        raise Gone(LOST)


def _read(visit: Visit, generation: UUID, first_seq: int) -> list[tuple[Header, Body | None]]:
    with visit.house.readers.tenant(visit.tenant) as reader:
        return list(records_of(reader, visit.house.keys, generation, first_seq))
