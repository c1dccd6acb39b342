"""Records in the log of tenant `system` how far the other logs have come, and keeps what it says of each for its readers.

That log is the log of checkpoints: whoever keeps its checkpoints, or has them witnessed or stamped, need not do so for every
tenant. A log is anchored once a minute if it has grown; nothing waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from audit.acts import Anchored
from audit.anchor import Anchor
from audit.durable import sole
from audit.errors import AuditError, NoteInvalid
from audit.header import StoredRecord, decode_header
from audit.kept_anchors import KeptAnchors
from audit.keys import KeyStore
from audit.ledger import log_origin, newest_kept
from audit.note import Checkpoint, open_checkpoint, tree_of
from audit.readers import Readers
from audit.sealing import request_key
from audit.signer import known_keys
from audit.writer import SYSTEM, Entry, Range
from gateway.appending import Log, append_when_room
from gateway.evidence import COSIGNED, Evidence

ACTOR: Final = "anchoring"
PAUSE_SECONDS: Final = 60.0
WITNESS_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.2
TOGETHER: Final = 256
"""Logs that are anchored by one append."""
_log = structlog.get_logger(__name__)


class Anchoring:
    """A task of the house; those of several processes take turns."""

    def __init__(
        self, log: Log, keys: Path, origin: str, readers: Readers, evidence: Evidence, *, witnessed: bool,
        pause: float = PAUSE_SECONDS,
    ) -> None:  # fmt: skip
        """`keys` is the keys folder, `origin` the installation's; `witnessed`: somebody is asked to cosign the logs."""
        self._log, self._keys, self._files, self._origin, self._pause = log, keys, keys / "checkpoints", origin, pause
        self._readers, self._evidence, self._witnessed = readers, evidence, witnessed
        self._store, self._kept = KeyStore(keys), KeptAnchors(keys)

    async def run(self) -> None:
        """Look every minute until cancelled. What fails is done at a later look."""
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self.look()
            except (AuditError, SQLAlchemyError, OSError) as error:
                _log.warning("anchors.failed", error=f"{type(error).__name__}: {error}")

    async def look(self) -> None:
        """Anchor every log that has grown since."""
        async with sole(self._kept.folder):
            grown = iter(await asyncio.to_thread(lambda: list(self._grown())))
            while trees := list(islice(grown, TOGETHER)):
                acts = (Anchored(tree.origin, tree.size, tree.root, ACTOR) for tree in trees)
                place = await append_when_room(self._log, [Entry(SYSTEM, None, ACTOR, None, act) for act in acts])
                await self._keep(trees, place)

    def _grown(self) -> Iterator[Checkpoint]:
        """The newest trees that were signed here and are not anchored yet, by the files that lie outside of the database."""
        for file in sorted(self._files.glob("*.jsonl")):
            for note in newest_kept(file):
                tree = tree_of(note)
                ours = tree.origin.startswith(f"{self._origin}/") and tree.origin != log_origin(self._origin, SYSTEM)
                if ours and tree.size > self._kept.size(tree.origin) and self._is_signed(note, tree.origin):
                    yield tree

    def _is_signed(self, note: str, origin: str) -> bool:
        """A line that the disk has changed is not put on record: it would be another history under the log's own keys."""
        with suppress(NoteInvalid):
            return bool(open_checkpoint(note, known_keys(self._keys, origin), origin))
        return False

    async def _keep(self, trees: Sequence[Checkpoint], place: Range) -> None:
        """Prove the records at `place`, one for each tree, and keep them. What no checkpoint covers soon is anchored again."""
        await self._seen(place.last_seq)
        rows = await asyncio.to_thread(self._rows, place)
        for tree, row in zip(trees, rows, strict=True):
            header = decode_header(row.header)
            proven = await self._evidence.proof(SYSTEM, header.seq)
            if proven is None or proven.proof is None or row.body is None:
                continue
            key = request_key(self._store.find(header.key_id).secret, header.scope)
            line = Anchor(row.header, row.body, key, proven.proof).line()
            await asyncio.to_thread(self._kept.keep, tree.origin, line)

    async def _seen(self, seq: int) -> None:
        """Wait a while for the witnesses, if any are asked, so that the proofs bear their signatures."""
        deadline = asyncio.get_running_loop().time() + WITNESS_SECONDS
        while self._witnessed and asyncio.get_running_loop().time() < deadline:
            note = await asyncio.to_thread(self._evidence.resource, SYSTEM, COSIGNED)
            if note is not None and tree_of(note.decode()).size > seq:
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _rows(self, place: Range) -> list[StoredRecord]:
        with self._readers.tenant(SYSTEM) as reader:
            return list(reader.records(place.first_seq, place.last_seq))
