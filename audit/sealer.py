"""From an author's entry to a sealed record (id, key, ciphertext, a header that still lacks its place), and back to a body."""

import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from audit.acts import KEEPER, Act
from audit.errors import InvalidRecord
from audit.header import Header, uuid7
from audit.keys import KeyStore
from audit.ledger import SealedRecord, body_digest
from audit.records import SCHEMA, Body, decode_body, encode_body, kind_of
from audit.sealing import request_key, seal, unseal


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as its author knows it. Its body key belongs to `subject`, by default the actor; an act's to the keeper."""

    tenant: str
    request: UUID | None
    actor: str
    policy: bytes | None
    """SHA-256 of the policy in force, 32 bytes."""
    body: Body
    subject: str | None = None


class Sealer:
    """Encrypts entries under the month keys of one folder; blocks on the disk once per subject and month."""

    def __init__(self, keys: Path) -> None:
        self._store = KeyStore(keys)

    def seal(self, entry: Entry) -> SealedRecord:
        """Seal one entry; raises InvalidRecord, or KeyUnavailable when the keys folder cannot be trusted."""
        now = time.time_ns() // 1000
        record = uuid7(now)
        month = self._store.month_key(entry.tenant, _subject(entry), now)
        key = request_key(month.secret, record if entry.request is None else entry.request)
        sealed = seal(key, entry.tenant, record, encode_body(entry.body))
        header = Header(
            tenant=entry.tenant,
            seq=0,
            ts=now,
            record=record,
            request=entry.request,
            kind=kind_of(entry.body),
            schema=SCHEMA,
            actor=entry.actor,
            policy=entry.policy,
            key_id=month.key_id,
            body_length=len(sealed),
            body_sha256=body_digest(sealed),
        )
        return SealedRecord(header, sealed)


def open_body(store: KeyStore, header: Header, sealed: bytes) -> Body:
    """The body of a stored record; raises KeyUnavailable, SealBroken or MalformedData when it cannot be read."""
    key = request_key(store.find(header.key_id).secret, header.scope)
    return decode_body(header.kind, header.schema, unseal(key, header.tenant, header.record, sealed))


def _subject(entry: Entry) -> str:
    """Whose key seals it: acts must stay readable after any erasure, and nothing else may."""
    if isinstance(entry.body, Act):
        return KEEPER
    subject = entry.actor if entry.subject is None else entry.subject
    if subject == KEEPER:
        raise InvalidRecord(f"subject {KEEPER!r} is kept for administrative acts: name another")
    return subject
