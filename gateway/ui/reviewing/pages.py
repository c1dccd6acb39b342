"""The queue and the review page, and what of them looks for news by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

import policies
from audit.approvals import content_digest
from gateway.approvals.case import Case, State
from gateway.errors import NotHere
from gateway.house import House
from gateway.projections.queue import Share
from gateway.recall import Unreadable
from gateway.review.marks import on_a_line
from gateway.ui.rendering import page
from gateway.ui.reviewing.evidence import Made, evidence_of
from gateway.ui.reviewing.powers import CODES, lent_to, powers
from gateway.ui.reviewing.reading import READERS, Reading, ReadingRoom
from gateway.ui.reviewing.showing import shown
from gateway.ui.reviewing.waiting import PAGE_ROWS, SIDE_ROWS, Line, found, listed
from gateway.ui.signing import keys_of
from gateway.ui.visitor import Looking, Visitor, only

GONE: Final = "There is no held answer of this id that you may see."
TRIES: Final = 3
"""An edit between two reads makes them disagree; more than that is no accident."""
NOTHING: Final[Mapping[str, str]] = {}


@get("/approvals", opt=only(*READERS))
async def queue_page(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    room: NamedDependency[ReadingRoom],
) -> Response[str]:
    """Everybody who waits, the most urgent first."""
    part = await listed(house, visitor, request.query_params, PAGE_ROWS)
    return page(
        request, "review/queue.html", listed=part, callers=await room.callers.of(visitor.tenant),
        states=[state.value for state in State],
        shares=[share.value for share in Share if share is not Share.ANYBODY], modes=[mode.value for mode in policies.Mode],
    )  # fmt: skip


@get("/approvals/queue", opt=only(*READERS))
async def side_of_queue(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    room: NamedDependency[ReadingRoom],
) -> Response[str]:
    """The list beside an answer, anew."""
    part = await listed(house, visitor, {}, SIDE_ROWS)
    return page(
        request, "review/side.html", listed=part, chosen=request.query_params.get("chosen", "")[:64],
        callers=await room.callers.of(visitor.tenant),
    )  # fmt: skip


@get("/approvals/{generation:uuid}", opt=only(*READERS))
async def review_page(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    room: NamedDependency[ReadingRoom],
    generation: FromPath[UUID],
) -> Response[str]:
    """One held answer, its drafting, the evidence, and the decision."""
    return await answer_page(request, house, visitor, room, generation)


@get("/approvals/{generation:uuid}/standing", opt=only(*READERS))
async def standing_of(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    generation: FromPath[UUID],
) -> Response[str]:
    """How it stands now, for a page that was opened at record `seq`. No content."""
    case = await house.approvals.find(visitor.tenant, generation)
    if case is not None and not case.state.ended and case.opened.expires_at <= time.time_ns() // 1000:
        case = await house.approvals.current(visitor.tenant, generation)
    if case is None:
        raise NotHere(GONE)
    seen = request.query_params.get("seq", "")
    line = await found(house, visitor, generation)
    return page(request, "review/standing.html", **_standing(case, line, visitor, seen))


async def answer_page(
    request: Request[Any, Any, Any],
    house: House,
    visitor: Visitor,
    room: ReadingRoom,
    generation: UUID,
    status: int = 200,
    refusal: str = "",
    asked: Mapping[str, str] = NOTHING,
) -> Response[str]:
    """The review page, with what was refused and what had been filled in, if something was."""
    case, reading = await _case_and_content(house, visitor, room, generation)
    lent = lent_to(await house.approvals.delegations(visitor.tenant), visitor.person)
    drawn, evidence = await asyncio.to_thread(lambda: (shown(reading), evidence_of(reading)))
    line = await found(house, visitor, generation)
    standing = _standing(case, line, visitor, str(case.last_seq))
    review = reading.review
    return page(
        request, "review/review.html", status,
        **(standing | {
            "title": on_a_line(review.title), "content": review.content, "reading": drawn, "evidence": evidence,
            "opening": review.opening, "closing": review.closing, "told": _told(reading, evidence.made),
            "labels": [reason.label for reason in evidence.reasons], "reading_lost": reading.lost,
            "first_seq": reading.first_seq, "last_seq": reading.last_seq,
            "separate": any(needed.separation_of_duties for needed in case.opened.needed),
            "listed": await listed(house, visitor, {}, SIDE_ROWS), "may": powers(case, visitor.person, lent),
            "lent": lent, "callers": await room.callers.of(visitor.tenant),
            "codes": CODES, "passkeys": await keys_of(house, visitor), "refusal": refusal,
            "asked": asked, "since": int(time.time()),
        }),
    )  # fmt: skip


async def _case_and_content(house: House, visitor: Visitor, room: ReadingRoom, generation: UUID) -> tuple[Case, Reading]:
    """The case and the very content that it is about: what is shown is what is signed. Raises NotHere and Unreadable."""
    for _ in range(TRIES):
        case = await house.approvals.current(visitor.tenant, generation)
        if case is None:
            raise NotHere(GONE)
        reading = await room.open(visitor, generation, "reviewed a held answer")
        if content_digest(reading.review.content) == case.content_sha256:
            return case, reading
    raise Unreadable(
        "What the records give is not what the approval is about: another model's tokenizer is loaded here, or the log was "
        "altered. Nothing can be signed; run `palimpsest audit verify`."
    )


def _standing(case: Case, line: Line | None, visitor: Visitor, seen: str) -> dict[str, Any]:
    """What `review/standing.html` shows; `moved`: the case has other records than those that were seen."""
    return {
        "case": case, "line": line, "seq": seen if seen.isdecimal() else "0", "moved": seen != str(case.last_seq),
        "desk_told": "" if line is None else _desk(line, visitor.person.on_record),
    }  # fmt: skip


def _desk(line: Line, me: str) -> str:
    """Whose work it is."""
    told = []
    if line.row.assigned_to is not None:
        told.append("assigned to you" if line.row.assigned_to == me else f"assigned to {line.row.assigned_to}")
    if line.row.locked_by is not None:
        told.append("you are reading it" if line.row.locked_by == me else f"{line.row.locked_by} is reading it")
    return ", ".join(told)


def _told(reading: Reading, made: Made) -> str:
    """How it was drafted, in one phrase."""
    closing = reading.review.closing
    stages = len(reading.review.stages)
    unit = "block" if made.steps else "stretch"
    forwards = "" if closing is None else f", {closing.forwards} forwards"
    plural = "" if stages == 1 else "es" if unit == "stretch" else "s"
    return f"drafted in {stages} {unit}{plural}{forwards}"
