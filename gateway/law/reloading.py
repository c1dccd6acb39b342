"""The lawbook follows the database: a new policy judges new requests within a second, in every gateway, without a restart.

What cannot be read never takes force: the policy that a tenant has stays, and the gateway's own log says why. A tenant whose
policy could never be read is served nothing, and what cannot be read is not tried. What vanishes from the table changes nothing
either; only the log may say so.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

import policies
from audit.laws import InForce
from gateway.law.lawbook import Entry, Lawbook, Standing, Unread
from gateway.law.shelf import Placed, Shelf

PAUSE_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)


class Reloading:
    """A task of the house."""

    def __init__(self, book: Lawbook, shelf: Shelf, pause: float = PAUSE_SECONDS) -> None:
        self._book, self._shelf, self._pause = book, shelf, pause
        self._seen: dict[str, InForce] = {}
        self._entries: dict[str, Entry] = {}
        self._reached = True

    async def run(self) -> None:
        """Look again and again until cancelled. A database that is away leaves everything as it is."""
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self.look()
            except SQLAlchemyError as error:
                if self._reached:
                    _log.warning("policies.unread", error=type(error).__name__)
                self._reached = False
            else:
                self._reached = True

    async def look(self) -> None:
        """Take up what has changed. Raises SQLAlchemyError."""
        news = await asyncio.to_thread(self._changed)
        for placed, entry in news:
            self._entries[placed.tenant] = entry
            self._seen[placed.tenant] = placed.in_force
        if news:
            self._book.replace(self._entries)

    def _changed(self) -> list[tuple[Placed, Entry]]:
        news = [placed for placed in self._shelf.placed() if self._seen.get(placed.tenant) != placed.in_force]
        return [(placed, self._read(placed)) for placed in news]

    def _read(self, placed: Placed) -> Entry:
        tenant, now = placed.tenant, placed.in_force
        active = self._readable(placed, now.digest)
        if isinstance(active, Unread):
            return self._entries.get(tenant, active)
        tried = None if now.candidate is None else self._readable(placed, now.candidate)
        _log.info("policy.in_force", tenant=tenant, digest=now.digest.hex(), seq=now.seq, share=now.share)
        return Standing(active) if tried is None or isinstance(tried, Unread) else Standing(active, tried, now.share or 0.0)

    def _readable(self, placed: Placed, digest: bytes) -> policies.Policy | Unread:
        try:
            return self._restored(placed.tenant, digest)
        except policies.PolicyError as error:
            seq = placed.in_force.seq
            _log.error("policy.unread", tenant=placed.tenant, digest=digest.hex(), seq=seq, error=str(error))
            return Unread(str(error))

    def _restored(self, tenant: str, digest: bytes) -> policies.Policy:
        """A stored policy; its digest is that of its text, or it is none."""
        name = f"{tenant}@{digest.hex()[:12]}"
        found = policies.restored(name, self._shelf.text(tenant, digest))
        if bytes(found.digest) != digest:
            raise policies.PolicyError(Path(name), "", "the stored text is another than its digest says")
        return found
