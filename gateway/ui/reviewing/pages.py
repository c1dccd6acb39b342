"""The queue and the review page, and what of them looks for news by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath

import policies
from audit.approvals import content_digest
from gateway.approvals.case import Case, State
from gateway.errors import NotHere
from gateway.people.duties import READS_CONTENT, READS_HELD, SHARES_WORK
from gateway.projections.queue import Share
from gateway.recall import Unreadable
from gateway.review.marks import on_a_line
from gateway.ui.reviewing.done import done
from gateway.ui.reviewing.drawing import drawn
from gateway.ui.reviewing.evidence import Made, evidence_of
from gateway.ui.reviewing.powers import CODES, lent_to, powers
from gateway.ui.reviewing.reading import Reading
from gateway.ui.reviewing.showing import shown
from gateway.ui.reviewing.since import since_read
from gateway.ui.reviewing.view import View, Viewing
from gateway.ui.reviewing.waiting import PAGE_ROWS, SIDE_ROWS, Line, found, listed
from gateway.ui.signing import keys_of
from gateway.ui.visitor import Visitor, only

GONE: Final = "There is no held answer of this id that you may see."
TRIES: Final = 3
"""An edit between two reads makes them disagree; more than that is no accident."""
NOTHING: Final[Mapping[str, str]] = {}


@get("/approvals", opt=only(*READS_HELD))
async def queue_page(view: Viewing) -> Response[str]:
    """Everybody who waits, the most urgent first."""
    part = await listed(view.house, view.visitor, view.request.query_params, PAGE_ROWS)
    return view.page(
        "review/queue.html", listed=part, callers=await view.room.callers.of(view.tenant),
        states=[state.value for state in State],
        shares=[share.value for share in Share if share is not Share.ANYBODY], modes=[mode.value for mode in policies.Mode],
    )  # fmt: skip


@get("/approvals/queue", opt=only(*READS_HELD))
async def side_of_queue(view: Viewing) -> Response[str]:
    """The list beside an answer, anew."""
    part = await listed(view.house, view.visitor, {}, SIDE_ROWS)
    callers = await view.room.callers.of(view.tenant)
    return view.page("review/side.html", listed=part, chosen=view.asked("chosen", 64), callers=callers)


@get("/approvals/{generation:uuid}", opt=only(*READS_HELD))
async def review_page(view: Viewing, generation: FromPath[UUID]) -> Response[str]:
    """One held answer, its drafting, the evidence, and the decision."""
    return await answer_page(view, generation)


@get("/approvals/{generation:uuid}/standing", opt=only(*READS_HELD))
async def standing_of(view: Viewing, generation: FromPath[UUID]) -> Response[str]:
    """How it stands now, for a page that was opened at record `seq`. No content."""
    case = await view.house.approvals.find(view.tenant, generation)
    if case is not None and not case.state.ended and case.opened.expires_at <= time.time_ns() // 1000:
        case = await view.house.approvals.current(view.tenant, generation)
    if case is None:
        raise NotHere(GONE)
    line = await found(view.house, view.visitor, generation)
    return view.page("review/standing.html", **_standing(case, line, view.visitor, view.asked("seq", 20)))


async def answer_page(
    view: View, generation: UUID, status: int = 200, refusal: str = "", asked: Mapping[str, str] = NOTHING
) -> Response[str]:
    """The review page, with what was refused and what had been filled in, if something was."""
    house, visitor = view.house, view.visitor
    broken = None if visitor.may(*READS_CONTENT) else await house.approvals.current(view.tenant, generation)
    if broken is not None and powers(broken, visitor.person, ()).review:
        return await _glass_page(view, broken, status, refusal, asked)
    case, reading = await _case_and_content(view, generation)
    lent = lent_to(await house.approvals.delegations(visitor.tenant), visitor.person)
    laid, evidence = await drawn(lambda: (shown(reading), evidence_of(reading)))
    line = await found(house, visitor, generation)
    standing = _standing(case, line, visitor, str(case.last_seq))
    review = reading.review
    values = (
        standing | {
            "title": on_a_line(review.title), "content": review.content, "reading": laid, "evidence": evidence,
            "opening": review.opening, "closing": review.closing, "told": _told(reading, evidence.made),
            "changed": await since_read(house, visitor, reading),
            "labels": [reason.label for reason in evidence.reasons], "reading_lost": reading.lost,
            "first_seq": reading.first_seq, "last_seq": reading.last_seq,
            "separate": any(needed.separation_of_duties for needed in case.opened.needed),
            "listed": await listed(house, visitor, {}, SIDE_ROWS), "may": powers(case, visitor.person, lent),
            "lent": lent, "callers": await view.room.callers.of(visitor.tenant),
            "passkeys": await keys_of(house, visitor), "may_read": visitor.may(*READS_CONTENT),
            "may_share": visitor.may(*SHARES_WORK), "codes": CODES, "refusal": refusal, "asked": asked,
            "since": int(time.time()), "notice": done(view.asked("done", 20), case, line, visitor.person),
        }
    )  # fmt: skip
    return await drawn(lambda: view.page("review/review.html", status, **values))


async def _glass_page(view: View, case: Case, status: int, refusal: str, asked: Mapping[str, str]) -> Response[str]:
    """Who broke the glass and why, for somebody who may look at that and not at the text. No content."""
    line, callers = await found(view.house, view.visitor, case.generation), await view.room.callers.of(view.tenant)
    return view.page(
        "review/glass.html", status, **_standing(case, line, view.visitor, str(case.last_seq)),
        broke=[each for each in case.signatures if each.decided.method == "break_glass"],
        may=powers(case, view.visitor.person, ()), callers=callers, refusal=refusal, asked=asked, since=int(time.time()),
        notice="",
    )  # fmt: skip


async def _case_and_content(view: View, generation: UUID) -> tuple[Case, Reading]:
    """The case and the very content that it is about: what is shown is what is signed.

    Raises NotHere, NotAllowed and Unreadable.
    """
    for _ in range(TRIES):
        case = await view.house.approvals.current(view.tenant, generation)
        if case is None:
            raise NotHere(GONE)
        if case.state.ended:  # whoever may break the glass reads what waits, and no more
            view.visitor.require(*READS_CONTENT)
        reading = await view.room.open(view.visitor, generation, "reviewed a held answer", READS_HELD)
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
