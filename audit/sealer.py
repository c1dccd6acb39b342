"""From an author's entry to a sealed record (id, key, ciphertext, a header that still lacks its place), and back to a body."""

import os
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from audit.acts import KEEPER, Act
from audit.errors import InvalidRecord
from audit.header import ID_BYTES, Header, blank, framed, uuid7
from audit.keys import KeyStore, MonthKey
from audit.ledger import SealedRecord, body_digest
from audit.records import Body, decode_body, encode_body, kind_of, schema_of
from audit.sealing import NONCE_BYTES, Box, request_key, unseal

_RANDOM: Final = NONCE_BYTES + ID_BYTES
_BOXES_MOST: Final = 1024
"""Requests whose derived key is kept: as many as may be written at once, and a few that have just ended."""


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
        self._boxes = OrderedDict[tuple[str, UUID], Box]()
        self._seen = self._store.changes

    def seal(self, entries: Sequence[Entry]) -> tuple[SealedRecord, ...]:
        """Seal what goes into the log together; raises InvalidRecord, or KeyUnavailable when the keys folder cannot be trusted.

        The disk is asked once a subject whether its key still stands, and the kernel once for all that is random: at every
        call of the system other threads go first.
        """
        now = time.time_ns() // 1000
        months: dict[tuple[str, str], MonthKey] = {}
        sealed, random = [], os.urandom(_RANDOM * len(entries))
        for index, entry in enumerate(entries):
            owner = (entry.tenant, _subject(entry))
            month = months.get(owner) or months.setdefault(owner, self._store.month_key(*owner, now))
            sealed.append(self._sealed(entry, month, now, random[_RANDOM * index : _RANDOM * (index + 1)]))
        return tuple(sealed)

    def _sealed(self, entry: Entry, month: MonthKey, now: int, random: bytes) -> SealedRecord:
        record = uuid7(now, random[NONCE_BYTES:])
        box = self._box(month, record if entry.request is None else entry.request)
        sealed = box.seal(entry.tenant, record, encode_body(entry.body), random[:NONCE_BYTES])
        kind = kind_of(entry.body)
        names = framed(entry.tenant, entry.actor, entry.policy, month.key_id)
        rest = blank(names, record, entry.request, kind, schema_of(kind), len(sealed), body_digest(sealed))
        return SealedRecord(entry.request, kind, rest, sealed)

    def _box(self, month: MonthKey, scope: UUID) -> Box:
        """The key of a request, derived once; all are forgotten when a month key came or went, for it may have been erased."""
        if self._seen != self._store.changes:
            self._boxes.clear()
            self._seen = self._store.changes
        name = (month.key_id, scope)
        box = self._boxes.get(name)
        if box is None:
            box = self._boxes[name] = Box(request_key(month.secret, scope))
            if len(self._boxes) > _BOXES_MOST:
                self._boxes.popitem(last=False)
        return box


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
