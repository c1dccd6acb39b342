"""What every act on a held answer is made of: its turn, its case, and the records that are appended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

import policies
from audit.approvals import ApprovalEnded, ApprovalOpened, ApprovalVoided
from audit.errors import AuditError, LogUnavailable, QueueFull
from audit.records import Body
from audit.writer import Entry, Range
from gateway.appending import Log, append_when_room
from gateway.approvals import terms
from gateway.approvals.case import Case
from gateway.approvals.files import Files
from gateway.approvals.turns import Turn, Turns
from gateway.approvals.watch import Watch
from gateway.errors import LogDown
from gateway.law.lawbook import Lawbook

ACTOR: Final = "approvals"
"""Who acts where no person does, as records have it."""
LOOK_SECONDS: Final = 2.0
"""For so long an act waits until the projections have it."""
Look: TypeAlias = Callable[[str], Awaitable[None]]
"""Brings the projections of a tenant to where its log is."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """The model that this process serves, as far as approvals are bound to it."""

    weights_digest: bytes
    decode: Callable[[tuple[int, ...]], bytes]


@dataclass(frozen=True, slots=True)
class Taken:
    """A held answer in the turn of whoever acts on it; `renewed` says why another cycle has just begun, if one has."""

    turn: Turn
    case: Case
    renewed: terms.Change | None = None


class Desk:
    """Belongs to the writer's event loop."""

    def __init__(self, log: Log, files: Files, turns: Turns, laws: Lawbook, served: Served, look: Look) -> None:
        self.files, self.turns = files, turns
        self._log, self._laws, self._served, self._look = log, laws, served, look
        self.watch = Watch(files)

    async def find(self, tenant: str, generation: UUID) -> Case | None:
        """How it stands. Raises Unreadable and what reading the log raises."""
        return await asyncio.to_thread(self.files.case, tenant, generation)

    @asynccontextmanager
    async def taken(self, tenant: str, generation: UUID, *, acting: bool = True) -> AsyncIterator[Taken | None]:
        """A held answer that nobody else acts on meanwhile, with what is void or over already recorded as such.

        Whoever only looks is not `acting`: that another model is loaded where they look says nothing about what is served.
        """
        async with self.turns.of(f"{tenant}/{generation}") as turn:
            case = await self.find(tenant, generation)
            if case is None:
                yield None
                return
            yield await self.up_to_date(Taken(turn, case), acting=acting)

    async def record(self, taken: Taken, actor: str, *bodies: Body) -> Case:
        """Append records of one case, together; how it stands then. Raises LogDown, or Unavailable if the turn was lost."""
        case = taken.case
        await taken.turn.require()
        policy = taken.case.opened.policy_digest
        entries = [Entry(case.tenant, case.generation, actor, policy, body, case.opened.requester) for body in bodies]
        await self.append(entries)
        found = await self.find(case.tenant, case.generation)
        if found is None:
            raise LogDown("what was recorded cannot be read back now; try again later")
        return found

    async def append(self, entries: Sequence[Entry]) -> Range:
        """Append, and have whoever waits or looks hear of it. Raises LogDown."""
        try:
            place = await append_when_room(self._log, entries)
        except (LogUnavailable, QueueFull) as error:
            raise LogDown("the audit log cannot commit, so nothing was decided; try again later") from error
        for request in {entry.request for entry in entries if entry.request is not None}:
            self.watch.ring(request)
        await self._looked(entries[0].tenant)
        return place

    async def _looked(self, tenant: str) -> None:
        """Wait until the projections have it, but not while they are made anew: who comes too early sees less for a while."""
        look = asyncio.ensure_future(self._look(tenant))
        look.add_done_callback(_heard)
        try:
            await asyncio.wait_for(asyncio.shield(look), LOOK_SECONDS)
        except (AuditError, SQLAlchemyError, TimeoutError) as error:
            # Whoever follows by the clock will find it; the act itself is on record.
            _log.warning("approvals.unlooked", error=type(error).__name__)

    def ending(self, case: Case, outcome: str, why: str, cited: Sequence[int] = (), more: int = 0, by: str | None = None
    ) -> ApprovalEnded:  # fmt: skip
        """The record of an end, which `more` records of the same batch precede."""
        return ApprovalEnded(
            cycle=case.opened.cycle,
            outcome=outcome,
            why=why,
            content_sha256=case.content_sha256,
            binding=case.opened.binding,
            decisions=tuple(cited),
            person=by,
            broke_glass=outcome == "released" and case.broke_glass,
            records=case.records + more + 1,
        )

    def next_cycle(self, case: Case, rewritten: terms.Rewritten | None = None, *, acting: bool = True) -> ApprovalOpened:
        """The cycle that follows, under what is in force now. Raises Unavailable where the policy cannot be read."""
        last, under = case.opened, self._under(case, acting=acting)
        asked = terms.terms(self._policy(case).document, terms.due_again(last, terms.changed(last, under)))
        return terms.next_cycle(case.tenant, case.generation, last, asked, under, now(case), rewritten)

    def settled(self, case: Case, *, acting: bool = True) -> bool:
        """Whether nothing of it is void or over that is not on record as such: then looking at it takes no turn."""
        if case.ended is not None:
            return True
        holds = terms.changed(case.opened, self._under(case, acting=acting)) is None
        return holds and not _rejections(case) and now(case) < case.opened.expires_at

    async def up_to_date(self, taken: Taken, *, acting: bool = True) -> Taken:
        """End what was rejected or whose time is over, and void a cycle that is bound to what no longer holds.

        What would leave when its time is over does not leave under another policy or model: people are asked once more.
        """
        case = taken.case
        if self.settled(case, acting=acting):
            return taken
        if rejected := _rejections(case):
            return Taken(taken.turn, await self.record(taken, ACTOR, self.ending(case, "withheld", "rejected", rejected)))
        releases, over = case.opened.on_expire == "release", now(case) >= case.opened.expires_at
        change = terms.changed(case.opened, self._under(case, acting=acting))
        if change is not None and (releases or not over):
            void = ApprovalVoided(case.opened.cycle, change, None, "")
            return Taken(taken.turn, await self.record(taken, ACTOR, void, self.next_cycle(case, acting=acting)), change)
        return Taken(
            taken.turn, await self.record(taken, ACTOR, self.ending(case, "released" if releases else "withheld", "expired"))
        )

    def _policy(self, case: Case) -> policies.Policy:
        return self._laws.policy_of(case.tenant, case.generation, case.opened.policy_digest)

    def _under(self, case: Case, *, acting: bool) -> tuple[bytes, bytes]:
        """The policy in force, and the model that is served or, for whoever only looks, the one that it is bound to."""
        return bytes(self._policy(case).digest), self._served.weights_digest if acting else case.opened.weights_digest


def _heard(look: asyncio.Future[None]) -> None:
    """Nobody waits any more for a look that was late, so nobody else hears how it failed."""
    if not look.cancelled():
        look.exception()


def _rejections(case: Case) -> list[int]:
    return [each.seq for each in case.signatures if each.decided.decision == "reject"]


def now(case: Case | None = None) -> int:
    """Microseconds since 1970, by the clock; for a case no earlier than its log, by whose times all is judged for good."""
    return max(time.time_ns() // 1000, 0 if case is None else case.log_ts)
