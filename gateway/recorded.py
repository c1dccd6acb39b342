"""The records of one request, read back from the log and decrypted with this installation's keys."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from audit.errors import AuditError
from audit.header import decode_header
from audit.keys import KeyStore
from audit.records import Body
from audit.sealer import open_body
from audit.store import Reader


def bodies_of(reader: Reader, keys: KeyStore, request: UUID) -> Iterator[Body]:
    """Bodies in the order of the log; one that can no longer be read (its key is gone) is passed over. Blocking."""
    for stored in reader.request(request):
        header = decode_header(stored.header)
        if stored.body is None:
            continue
        try:
            yield open_body(keys, header, stored.body)
        except AuditError:
            continue
