"""Content for people's eyes: that it is read is on record, as an access (kind 47), before any of it is shown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from audit.acts import Access
from audit.header import Header, decode_header
from audit.keys import KeyStore
from audit.records import Body
from audit.store import read_tenant
from gateway.api.visit import READS_CONTENT, Visit
from gateway.errors import GatewayError, NotHere
from gateway.recorded import records_of

NOTHING: str = "there is no such thing here that you may see"


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


async def opened(visit: Visit, generation: UUID, what: str) -> Opened:
    """The records, once it is on record that this person reads `what` of them.

    Raises Forbidden, NotHere, Gone, and AuditError where the log cannot be read or cannot commit: then nothing is shown.
    """
    person = visit.person(*READS_CONTENT)
    first, last = await asyncio.to_thread(_span, visit, generation)
    access = Access(generation, first, last, f"{what}, by the API", person.on_record)
    await visit.house.lifecycle.record(visit.tenant, access)
    return await asyncio.to_thread(_read, visit, generation)


def _span(visit: Visit, generation: UUID) -> tuple[int, int]:
    with read_tenant(visit.house.urls.reader, visit.tenant) as reader:
        seqs = [decode_header(raw).seq for raw in reader.request_headers(generation)]
    if not seqs:
        raise NotHere(NOTHING)
    return seqs[0], seqs[-1]


def _read(visit: Visit, generation: UUID) -> Opened:
    keys = KeyStore(visit.house.settings.keys)
    with read_tenant(visit.house.urls.reader, visit.tenant) as reader:
        found = list(records_of(reader, keys, generation))
    records = tuple((header, body) for header, body in found if body is not None)
    if len(records) < len(found):
        raise Gone("records of this generation can no longer be read: their keys were erased, or their bodies retired")
    return Opened(generation, records)
