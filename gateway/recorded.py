"""The records of one request, read back from the log and decrypted with this installation's keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from audit.errors import AuditError
from audit.header import Header, StoredRecord, decode_header
from audit.keys import KeyStore
from audit.records import Body
from audit.sealer import open_body
from audit.store import Reader
from gateway.projections.unsealing import Unsealer


def bodies_of(reader: Reader, keys: KeyStore, request: UUID) -> Iterator[Body]:
    """Bodies in the order of the log; one that can no longer be read (its key is gone) is passed over. Blocking."""
    for _, body in records_of(reader, keys, request):
        if body is not None:
            yield body


def records_of(reader: Reader, keys: KeyStore, request: UUID, first_seq: int = 0) -> Iterator[tuple[Header, Body | None]]:
    """Headers from `first_seq` on, in the order of the log, each with its body, None for one that can no longer be read.

    Blocking.
    """
    return all_opened(keys, reader.request(request, first_seq))


def all_opened(keys: KeyStore, records: Iterable[StoredRecord]) -> Iterator[tuple[Header, Body | None]]:
    """The same of records that belong together: each key is read and derived once."""
    unsealer = Unsealer(keys)
    for stored in records:
        header = decode_header(stored.header)
        yield header, unsealer.body(header, stored.body)


def opened(keys: KeyStore, header: Header, sealed: bytes | None) -> Body | None:
    """The body of a record, None if it is gone or can no longer be read."""
    try:
        return None if sealed is None else open_body(keys, header, sealed)
    except AuditError:
        return None
