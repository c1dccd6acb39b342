"""What becomes of a held answer at its client's: the connection is kept open for a while, and people may decide meanwhile.

Whatever they decide, the dialects tell it as they tell any answer: text and its end, or an error with the words for it. No
client's leaving changes anything for those who decide. An answer that was let go leaves through `release.py` like every other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

import policies
from audit.approvals import ApprovalOpened
from audit.errors import AuditError
from gateway.approvals.approvals import Approvals
from gateway.approvals.attaching import Attaching
from gateway.approvals.case import Case, State
from gateway.approvals.choices import NotReleased
from gateway.dialects.request import Delivery
from gateway.errors import Declined, Deferred, GatewayError, LogDown
from gateway.law.lawbook import Lawbook
from gateway.pieces import Failed, Held, Made, Piece
from gateway.recall import Recall, Unreadable
from gateway.release import let_go

AGAIN_SECONDS: Final = 0.1
"""Between two looks at an approval that is not what it was a moment ago."""
LOOK_SECONDS: Final = 0.5
"""Between two looks at whether this process is leaving."""
_log = structlog.get_logger(__name__)
_MAY_LEAVE: Final = (State.APPROVED, State.RELEASED)
_WORDS: Final = {
    State.REJECTED: ("answer_rejected", "a reviewer did not let this answer go"),
    State.EXPIRED: ("approval_expired", "nobody decided in time about this answer, so it is not released"),
    State.CANCELLED: ("approval_cancelled", "the approval of this answer was cancelled, so it is not released"),
    State.RELEASED: ("answer_recalled", "this answer was recalled after its release, so it is not released again"),
}


class Handover:
    """Waits for people, and takes what they let go."""

    def __init__(
        self,
        approvals: Approvals,
        recall: Recall,
        attaching: Attaching,
        laws: Lawbook,
        base_url: str,
        leaving: Callable[[], bool],
    ) -> None:
        """`base_url` is where people reach the gateway's pages; once the process is `leaving`, nobody is kept waiting."""
        self._approvals, self._recall, self._attaching, self._laws = approvals, recall, attaching, laws
        self._base_url, self._leaving = base_url, leaving

    async def pieces(self, made: AsyncIterator[Made], request: UUID, delivery: Delivery) -> AsyncIterator[Piece]:
        """What the client of `request` gets; for a whole document it is not kept waiting for people, who may take a day."""
        async for piece in made:
            if not isinstance(piece, Held):
                yield piece
                continue
            for told in await self._safely(piece, request, delivery):
                yield told

    async def _safely(self, held: Held, request: UUID, delivery: Delivery) -> tuple[Piece, ...]:
        try:
            return await self._decided(held, request, 0.0 if delivery is Delivery.WHOLE else self._hold_seconds(held))
        except Unreadable as error:  # for good, so no client should ask again
            _log.error("answer.unreadable", tenant=held.tenant, generation=str(held.generation), error=error.message)
            return (Failed(Declined(error.message, approval=held.generation, code=error.code)),)
        except GatewayError as error:
            return (Failed(error),)
        except (AuditError, SQLAlchemyError):
            return (Failed(LogDown("how this answer's approval stands cannot be read now; try again later")),)

    async def _decided(self, held: Held, request: UUID, seconds: float) -> tuple[Piece, ...]:
        """What came of it or, after so many seconds, that it has to wait."""
        clock = asyncio.get_running_loop().time
        deadline, opened = clock() + seconds, held.opened
        while True:
            case = await self._settled(held, min(deadline - clock(), _left(opened)))
            if case.state in _MAY_LEAVE or (not case.state.ended and _left(case.opened) == 0):
                given = await self._taken(case, request)
                if not isinstance(given, NotReleased):
                    return given
                case = given.case or case
            if case.state.ended:
                await self._attaching.told(held.tenant, held.generation)
                return (Failed(declined(case)),)
            if clock() >= deadline or self._leaving():
                await self._attaching.keep(held.tenant, held.generation, case.opened.expires_at)
                return (Failed(self._deferred(held.generation)),)
            opened = case.opened
            await asyncio.sleep(AGAIN_SECONDS)

    async def _settled(self, held: Held, seconds: float) -> Case:
        """How it stands once nobody has to decide any more, after so many seconds, or when the process leaves."""
        waiting = asyncio.ensure_future(self._approvals.settled(held.tenant, held.generation, seconds))
        try:
            while not (await asyncio.wait({waiting}, timeout=LOOK_SECONDS))[0]:
                if self._leaving():
                    return await self._approvals.settled(held.tenant, held.generation, 0)
            return waiting.result()
        finally:
            waiting.cancel()

    async def _taken(self, case: Case, request: UUID) -> tuple[Piece, ...] | NotReleased:
        """The answer, if it may still leave. What is told beside it is read first: nothing may fail once it counts as gone."""
        found = await self._recall.find(case.tenant, case.generation)
        if found is None:
            raise LogDown("the records of this answer cannot be read now; try again later")
        given = await self._approvals.release(case.tenant, case.generation, request)
        if isinstance(given, NotReleased):
            return given
        await self._attaching.told(case.tenant, case.generation)
        records = found.account.records + given.case.records - case.records
        return let_go(given, replace(found.account, records=records, last_seq=given.last_seq))

    def _hold_seconds(self, held: Held) -> float:
        """How long a connection is kept open for people, by the law that the hold stands under."""
        policy = self._laws.policy_of(held.tenant, held.generation, held.opened.policy_digest)
        return hold_seconds(policy.document, held.opened)

    def _deferred(self, generation: UUID) -> Deferred:
        url = f"{self._base_url}/approvals/{generation}"
        message = f"this answer waits for a person's approval at {url}; ask the same again to get it then"
        return Deferred(message, approval=generation, url=url)


def declined(case: Case) -> Declined:
    """What a client is told of an answer that stays here: in the reviewer's words, where there are any."""
    code, words = _WORDS[case.state]
    return Declined(case.words or words, approval=case.generation, code=code)


def hold_seconds(document: policies.Document, opened: ApprovalOpened) -> float:
    """The shortest patience among those whose agreement is needed; an approval that the law no longer has counts as usual."""
    names = (needed.approval for needed in opened.needed)
    return min((document.approvals.get(name, policies.Approval()).hold_seconds for name in names), default=0)


def _left(opened: ApprovalOpened) -> float:
    """Seconds until it is too late to decide; 0 from then on."""
    return max(0.0, opened.expires_at / 1e6 - time.time())
