"""What lets anyone check a tenant's log from outside: its C2SP tiles, and for each record a proof that needs nothing else.

All of it is read from the database as gov_reader; nothing here can write, sign or decrypt. What is not a coroutine blocks.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final
from uuid import UUID

from audit.header import decode_header
from audit.note import parse_checkpoint, split_note
from audit.proof import make_proof
from audit.store import read_tenant
from audit.tilelog import TileLog
from audit.tiles import TileReader
from gateway.settings import DatabaseUrl

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

    def __init__(self, reader_url: DatabaseUrl, tenant: str) -> None:
        self._url, self._tenant = reader_url, tenant

    def newest_checkpoint(self) -> str | None:
        with read_tenant(self._url, self._tenant) as reader:
            return reader.newest_checkpoint()

    def leaf_hashes(self, start: int, stop: int) -> Iterator[bytes]:
        with read_tenant(self._url, self._tenant) as reader:
            yield from (leaf.leaf for leaf in reader.leaves(start, stop))

    def headers(self, start: int, stop: int) -> Iterator[bytes]:
        with read_tenant(self._url, self._tenant) as reader:
            yield from reader.headers(start, stop)


class Evidence:
    """The logs of all tenants as evidence; safe for several threads."""

    def __init__(self, reader_url: DatabaseUrl) -> None:
        self._url = reader_url
        self._log = lru_cache(LOGS_MOST)(lambda tenant: TileLog(_StoredLog(reader_url, tenant)))

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
        with read_tenant(self._url, tenant) as reader:
            note = reader.newest_checkpoint()
            if note is None or _size(note) <= seq:
                return None
            (header,) = reader.headers(seq, seq + 1)
        return RecordProof(seq, header, make_proof(self._log(tenant), seq, note))

    def proofs(self, tenant: str, request: UUID) -> Sequence[RecordProof]:
        """Every record of a request, proven against the newest checkpoint; empty for a request that is not this tenant's."""
        with read_tenant(self._url, tenant) as reader:
            note = reader.newest_checkpoint()
            headers = list(reader.request_headers(request))
        tiles, found = _Remembered(self._log(tenant)), list[RecordProof]()
        for header in headers:
            seq = decode_header(header).seq
            proof = make_proof(tiles, seq, note) if note is not None and seq < _size(note) else None
            found.append(RecordProof(seq, header, proof))
        return found


class _Remembered:
    """Tiles that are read once, however many proofs need them: neighbouring records share nearly all of theirs."""

    def __init__(self, reader: TileReader) -> None:
        self.tile = cache(reader.tile)


def _size(note: str) -> int:
    return parse_checkpoint(split_note(note).text).size
