"""One question, one generation, one approval: a request that is asked again is answered by the generation that has it already.

Only requests whose answer may be held claim their keys, before they are opened. A claim is given back when the answer was not
held; of a held one it stays until a while after the client was told the end. What a claim of a process that died is worth is
read from the records of its generation, or from the death of the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from gateway.approvals.attachments import Attachments, Holder
from gateway.approvals.claim import AnsweredEarlier, OwnClaim, Repeats
from gateway.approvals.request_key import RequestKeys
from gateway.dialects.request import ChatRequest
from gateway.errors import Unavailable
from gateway.presence import Presence
from gateway.recall import Ending, Recall, Recalled
from gateway.registry import Subject

TOLD: Final = timedelta(minutes=10)
"""How long the same question gets the same answer after a client was told it."""
PATIENCE_SECONDS: Final = 20.0
"""How long a request waits, before its response begins, for what becomes of the generation that has its question."""
POLL_SECONDS: Final = 0.2
_log = structlog.get_logger(__name__)


class _Standing(Enum):
    """What a claimed generation is worth to whoever asks the same."""

    WORKING = "working"
    ANSWERS = "answers"
    GONE = "gone"


class Attaching:
    """The claims of this process, over the table that all share."""

    def __init__(self, keys: RequestKeys, table: Attachments, recall: Recall, presence: Presence, instance: UUID) -> None:
        self._keys, self._table, self._recall, self._presence, self._instance = keys, table, recall, presence, instance
        self._open: set[UUID] = set()

    def of(self, subject: Subject, chat: ChatRequest, request: UUID, session: str | None) -> OwnClaim:
        """The claim of one request, not taken yet; `session` is its client's own name for what it belongs to."""
        return OwnClaim(self, subject, chat, request, session)

    async def claim(self, request: UUID, subject: Subject, chat: ChatRequest, session: str | None, repeats: Repeats) -> None:
        """Take the keys of a request. Raises AnsweredEarlier where a generation has one already, and Unavailable.

        `repeats` is awaited before it is waited for what becomes of such a generation; what it raises ends the claim.
        """
        tenant = subject.tenant
        keys = (await asyncio.to_thread(self._keys.of, subject, chat, session)).all
        while True:
            self._open.add(request)
            try:
                holder = await asyncio.to_thread(self._table.claim, tenant, keys, request)
                if holder.generation == request:
                    return
                self._open.discard(request)
                await repeats()
                if await self._settled(tenant, holder) is not _Standing.GONE:
                    raise AnsweredEarlier(holder.generation)
                await asyncio.to_thread(self._table.forget, tenant, holder.generation)
            except BaseException as error:
                self._open.discard(request)
                if isinstance(error, SQLAlchemyError):
                    raise _untold() from error
                raise

    async def follow(self, subject: Subject, chat: ChatRequest, session: str | None, repeats: Repeats) -> None:
        """Raise AnsweredEarlier where a generation has one of the keys of a request already; nothing is claimed.

        `repeats` and what else is raised are as for `claim`.
        """
        keys = (await asyncio.to_thread(self._keys.of, subject, chat, session)).all
        try:
            holder = await asyncio.to_thread(self._table.find, subject.tenant, keys)
            if holder is None:
                return
            await repeats()
            if await self._settled(subject.tenant, holder) is not _Standing.GONE:
                raise AnsweredEarlier(holder.generation)
        except SQLAlchemyError as error:
            raise _untold() from error

    async def keep(self, tenant: str, request: UUID, until: int) -> None:
        """Its answer is held until then at most, and can be asked for a while longer. Never raises."""
        after = until + TOLD // timedelta(microseconds=1)
        await self._quietly(lambda: self._table.keep(tenant, request, after))

    async def told(self, tenant: str, generation: UUID) -> None:
        """A client was told how it ended: from here on the same question is the same for a while only. Never raises."""
        await self._quietly(lambda: self._table.leave(tenant, generation, TOLD))

    async def forget(self, tenant: str, request: UUID) -> None:
        """It answers nobody else. Never raises."""
        await self._quietly(lambda: self._table.forget(tenant, request))

    async def ended(self, tenant: str, generation: UUID) -> Recalled | None:
        """A generation of any process once it has come to its end, or cannot any more. Raises what reading the log raises."""
        while True:
            found = await self._recall.find(tenant, generation)
            if found is None or found.ending is not Ending.NONE:
                return found
            works = await self._works(Holder(generation, found.opening.instance))
            if not works:
                return await self._recall.find(tenant, generation)
            await asyncio.sleep(POLL_SECONDS)

    def drop(self, request: UUID) -> None:
        """Nobody here works for it any more."""
        self._open.discard(request)

    def close(self) -> None:
        """Let the connections go."""
        self._table.close()

    async def _settled(self, tenant: str, holder: Holder) -> _Standing:
        """What the holder is worth, waiting while that is not decided; still working after a while, it will answer."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            found = await self._standing(tenant, holder)
            if found is not _Standing.WORKING or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(POLL_SECONDS)

    async def _standing(self, tenant: str, holder: Holder) -> _Standing:
        works = await self._works(holder)
        found = await self._recall.find(tenant, holder.generation)
        match Ending.NONE if found is None else found.ending:
            case Ending.ANSWERED | Ending.HELD | Ending.DECLINED:
                return _Standing.ANSWERS
            case Ending.NONE if works:
                return _Standing.WORKING
            case _:
                return _Standing.GONE

    async def _works(self, holder: Holder) -> bool:
        """Whether somebody may still bring it to its end. Asked before its records are read, which are then the last word."""
        if holder.instance == self._instance:
            return holder.generation in self._open
        async with self._presence.claim_dead(holder.instance) as dead:
            return not dead

    async def _quietly(self, work: Callable[[], None]) -> None:
        with suppress(SQLAlchemyError):
            await asyncio.to_thread(work)
            return
        _log.warning("attachment.unchanged")


def _untold() -> Unavailable:
    return Unavailable("whether this was asked before cannot be told now; try again later", code="database_unavailable")
