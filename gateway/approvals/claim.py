"""What one request has claimed: that it is the one to answer its keys, until it has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    from gateway.approvals.attaching import Attaching
    from gateway.dialects.request import ChatRequest
    from gateway.registry import Subject


class AnsweredEarlier(Exception):
    """A request generates nothing, because `generation` answers it."""

    def __init__(self, generation: UUID) -> None:
        super().__init__(str(generation))
        self.generation = generation


Repeats: TypeAlias = Callable[[], Awaitable[None]]
"""Told, before anything is waited for, that another generation has the question; it may raise instead."""


class Claim:
    """A request that nobody can attach to."""

    async def take(self, repeats: Repeats) -> None:
        """The request may come to be held: from here on others attach to it. Raises AnsweredEarlier, Unavailable, or what
        `repeats` raises.
        """

    async def follow(self, repeats: Repeats) -> None:
        """The request may not come to be held, but others that ask the same may: attach to one, and claim nothing. Raises what
        `take` raises.
        """

    async def end(self, held_until: int | None) -> None:
        """Its close is on record; `held_until`, in microseconds since 1970, where a person has to decide. Never raises."""

    async def give_up(self) -> None:
        """It will not be opened, and that is certain. Never raises."""

    def drop(self) -> None:
        """Nobody works for it any more; what is on record says how it ended."""


UNCLAIMED = Claim()


class OwnClaim(Claim):
    """A request of this house; `session` is its client's own name for what it belongs to, if it has one."""

    def __init__(self, attaching: Attaching, subject: Subject, chat: ChatRequest, request: UUID, session: str | None) -> None:
        self._attaching, self._tenant, self._request = attaching, subject.tenant, request
        self._asked = (subject, chat, session)
        self._taken = False

    async def take(self, repeats: Repeats) -> None:
        if not self._taken:
            await self._attaching.claim(self._request, *self._asked, repeats)
            self._taken = True

    async def follow(self, repeats: Repeats) -> None:
        await self._attaching.follow(*self._asked, repeats)

    async def end(self, held_until: int | None) -> None:
        if self._taken and held_until is None:
            await self._attaching.forget(self._tenant, self._request)
        elif self._taken and held_until is not None:
            await self._attaching.keep(self._tenant, self._request, held_until)

    async def give_up(self) -> None:
        if self._taken:
            await self._attaching.forget(self._tenant, self._request)
            self.drop()

    def drop(self) -> None:
        self._attaching.drop(self._request)
