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
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from audit.cosigning import CosignedNotes, WitnessPlace
from audit.header import decode_header
from audit.kept_anchors import KeptAnchors
from audit.ledger import log_origin
from audit.note import tree_of
from audit.proof import make_proof, make_proofs
from audit.readers import Readers
from audit.tilelog import CHECKPOINT, TileLog
from audit.tiles import root_from_tiles

PATIENCE_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 0.15
COSIGNED: Final = "cosigned"
"""Beside the resources of C2SP: the newest checkpoint that a witness has seen."""
ANCHOR: Final = "anchor"
"""And what the log of checkpoints says of this log."""
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

    def __init__(self, readers: Readers, keys: Path, origin: str, witnesses: Sequence[WitnessPlace]) -> None:
        """`keys` is the keys folder, `origin` the installation's."""
        self._readers, self._origin = readers, origin
        self._notes, self._anchors = CosignedNotes(keys, witnesses), KeptAnchors(keys)
        self.log = lru_cache(LOGS_MOST)(lambda tenant: TileLog(_StoredLog(readers, tenant)))
        """A tenant's log as tiles."""
        self._has = lru_cache(LOGS_MOST)(lambda tenant, tree: root_from_tiles(self.log(tenant), tree.size) == tree.root)
        """Whether a tenant's log has a tree that its newest checkpoint covers: where an old backup was restored
        witnesses have seen what is lost."""

    def resource(self, tenant: str, path: str) -> bytes | None:
        """A C2SP tlog-tiles resource (`checkpoint`, `tile/...`) of a tenant's log, COSIGNED or ANCHOR, None where nothing is.

        The newest checkpoint bears what cosignatures there are of its tree. Raises what reading the log raises.
        """
        if path == ANCHOR:
            kept = self._anchors.newest(log_origin(self._origin, tenant))
            return None if kept is None else kept.line
        if path not in (CHECKPOINT, COSIGNED):
            return self.log(tenant).resource(path)
        seen = self._seen(tenant)
        if path == COSIGNED:
            return None if seen is None else seen.encode()
        newest = self.log(tenant).resource(CHECKPOINT)
        same = seen is not None and newest is not None and tree_of(seen) == tree_of(newest.decode())
        return seen.encode() if seen is not None and same else newest

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
            newest = reader.newest_checkpoint()
            if newest is None or tree_of(newest).size <= seq:
                return None
            (header,) = reader.headers(seq, seq + 1)
        return RecordProof(seq, header, make_proof(self.log(tenant), seq, self._over(tenant, seq, newest)))

    def proofs(self, tenant: str, request: UUID) -> Sequence[RecordProof]:
        """Every record of a request, proven against one checkpoint; empty for a request that is not this tenant's."""
        with self._readers.tenant(tenant) as reader:
            newest = reader.newest_checkpoint()
            headers = list(reader.request_headers(request))
        seqs = [decode_header(header).seq for header in headers]
        proofs: dict[int, str] = {}
        if newest is not None and (covered := [seq for seq in seqs if seq < tree_of(newest).size]):
            note = self._over(tenant, max(covered), newest)
            proofs = dict(zip(covered, make_proofs(self.log(tenant), covered, note), strict=True))
        return [RecordProof(seq, header, proofs.get(seq)) for seq, header in zip(seqs, headers, strict=True)]

    def _over(self, tenant: str, seq: int, newest: str) -> str:
        """The note to prove record `seq` by, which `newest` covers: one that witnesses have seen if it does too."""
        seen = self._seen(tenant)
        if seen is None or not seq < tree_of(seen).size <= tree_of(newest).size or not self._has(tenant, tree_of(seen)):
            return newest
        return seen

    def _seen(self, tenant: str) -> str | None:
        return self._notes.newest(log_origin(self._origin, tenant))
