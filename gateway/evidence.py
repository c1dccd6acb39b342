"""What lets anyone check a tenant's log from outside: its C2SP tiles, and for each record a proof that needs nothing else.

All of it is read from the database as gov_reader; nothing here can write, sign or decrypt. What is not a coroutine blocks.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from audit.header import decode_header
from audit.note import parse_checkpoint, split_note
from audit.proof import make_proof, make_proofs
from audit.readers import Readers
from audit.tilelog import TileLog

PATIENCE_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 0.15
LOGS_MOST: Final = 256
"""Logs whose upper tree is kept in memory: 32 bytes for 256 records each."""


@dataclass(frozen=True, slots=True)
class RecordProof:
    """One record's place, its header (the Merkle leaf) and a tlog-proof; None while no checkpoint covers it."""

    seq: int
    header: bytes
    proof: str | None

    def document(self) -> dict[str, Any]:
        """As JSON has it; `python -m audit check` reads both parts."""
        return {"seq": self.seq, "header": base64.b64encode(self.header).decode(), "proof": self.proof}


class _StoredLog:
    """A `LogSource` over the database: one short snapshot per question."""

    def __init__(self, readers: Readers, tenant: str) -> None:
        self._readers, self._tenant = readers, tenant

    def newest_checkpoint(self) -> str | None:
        with self._readers.tenant(self._tenant) as reader:
            return reader.newest_checkpoint()

    def leaf_hashes(self, start: int, stop: int) -> Iterator[bytes]:
        with self._readers.tenant(self._tenant) as reader:
            yield from (leaf.leaf for leaf in reader.leaves(start, stop))

    def headers(self, start: int, stop: int) -> Iterator[bytes]:
        with self._readers.tenant(self._tenant) as reader:
            yield from reader.headers(start, stop)


class Evidence:
    """The logs of all tenants as evidence; safe for several threads."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._log = lru_cache(LOGS_MOST)(lambda tenant: TileLog(_StoredLog(readers, tenant)))

    def resource(self, tenant: str, path: str) -> bytes | None:
        """A C2SP tlog-tiles resource (`checkpoint`, `tile/...`) of a tenant's log, None where nothing is.

        Raises what reading the log raises.
        """
        return self._log(tenant).resource(path)

    async def proof(self, tenant: str, seq: int, patience: float = PATIENCE_SECONDS) -> RecordProof | None:
        """The proof of one record, waiting while no checkpoint covers it; None if none does in time."""
        deadline = time.monotonic() + patience
        while True:
            found = await asyncio.to_thread(self._proof, tenant, seq)
            if found is not None or time.monotonic() > deadline:
                return found
            await asyncio.sleep(RETRY_SECONDS)

    def _proof(self, tenant: str, seq: int) -> RecordProof | None:
        with self._readers.tenant(tenant) as reader:
            note = reader.newest_checkpoint()
            if note is None or _size(note) <= seq:
                return None
            (header,) = reader.headers(seq, seq + 1)
        return RecordProof(seq, header, make_proof(self._log(tenant), seq, note))

    def proofs(self, tenant: str, request: UUID) -> Sequence[RecordProof]:
        """Every record of a request, proven against the newest checkpoint; empty for a request that is not this tenant's."""
        with self._readers.tenant(tenant) as reader:
            note = reader.newest_checkpoint()
            headers = list(reader.request_headers(request))
        seqs = [decode_header(header).seq for header in headers]
        size = 0 if note is None else _size(note)
        covered = [seq for seq in seqs if seq < size]
        proofs = dict(zip(covered, make_proofs(self._log(tenant), covered, note or ""), strict=True)) if covered else {}
        return [RecordProof(seq, header, proofs.get(seq)) for seq, header in zip(seqs, headers, strict=True)]


def _size(note: str) -> int:
    return parse_checkpoint(split_note(note).text).size
