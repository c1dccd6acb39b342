"""GET /api/approvals: the queue, one held answer by figures or by its records, and its text; how people share the work."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from audit.acts import Access
from gateway.api import documents, forms
from gateway.api.answering import answer
from gateway.api.asking import body, given, query
from gateway.api.reading import NOTHING, Gone
from gateway.api.visit import READS_FIGURES, Visit, visit
from gateway.approvals.case import Case
from gateway.errors import GatewayError, NotHere
from gateway.house import House
from gateway.people.duties import READS_CONTENT, SHARES_WORK
from gateway.projections.paging import Page, Place
from gateway.projections.queue import WAITING, Wanted
from gateway.recall import Unreadable

SOON: Final = timedelta(minutes=15)


class Taken(GatewayError):
    """Somebody else is reading it."""

    status = 409
    kind = "invalid_request_error"
    default_code = "locked"


@route("/approvals", http_method=["GET", "HEAD"])
async def list_approvals(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[bytes]:
    """A page of the queue: a tenant's for a person, the answers that a key asked for itself for the key."""
    who = await visit(request, house)
    who.reader(*READS_FIGURES)
    asked = query(request, forms.QueueQuery)
    state, after = given(asked.state), given(asked.after)
    wanted = Wanted(
        states=WAITING if state is None else (state,),
        share=asked.share,
        me=_me(who),
        workflow=given(asked.workflow),
        mode=given(asked.mode),
        risk=given(asked.risk),
        requester=given(asked.requester) if who.caller is None else who.caller,
        group=given(asked.group),
        expires_before=given(asked.expires_before),
    )
    page = Page(asked.rows, None if after is None else Place.read(after))
    found = await asyncio.to_thread(house.views.queue.waiting, who.tenant, wanted, page)
    rows = [documents.approval(row) for row in found.rows]
    following = None if found.next is None else str(found.next)
    return answer(forms.Approvals(rows, following, None if who.caller is not None else await _counts(who)))


@route("/approvals/{generation:uuid}", http_method=["GET", "HEAD"])
async def show_approval(
    request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]
) -> Response[bytes]:
    """How a held answer stands by its records, without its text. The ETag is what a decision names in If-Match."""
    who = await visit(request, house)
    who.reader(*READS_FIGURES)
    query(request, forms.NoQuery)
    found = await case_for(who, generation)
    return answer(documents.case_state(found)) if who.caller is not None else case_answer(found)


@get("/approvals/{generation:uuid}/content")
async def show_held_content(
    request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]
) -> Response[bytes]:
    """The exact text that people decide on. Recorded as an access before it is told."""
    who = await visit(request, house)
    person = who.person(*READS_CONTENT)
    query(request, forms.NoQuery)
    found = await case_for(who, generation)
    reason = f"read the held text of cycle {found.opened.cycle}, by the API"
    access = Access(generation, found.opened.first_seq, found.last_seq, reason, person.on_record)
    await house.lifecycle.record(who.tenant, access)
    try:
        text = await house.approvals.text(found)
    except Unreadable as error:
        raise Gone(error.message) from error
    digest = found.content_sha256.hex()
    return answer(forms.Content(generation, found.opened.cycle, digest, text), _tag(found))


@post("/approvals/{generation:uuid}/desk", status_code=200)
async def share_work(
    request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]
) -> Response[bytes]:
    """Give it a priority, somebody to look after it, or a lock while it is read; nothing of this decides anything."""
    who = await visit(request, house)
    person = who.person(*SHARES_WORK)
    query(request, forms.NoQuery)
    asked, desks = await body(request, forms.DeskChange), house.views.desks
    row = await asyncio.to_thread(house.views.queue.find, who.tenant, generation)
    if row is None:
        raise NotHere(NOTHING)
    if asked.lock is not msgspec.UNSET:
        turn = desks.lock if asked.lock else desks.unlock
        if not await asyncio.to_thread(turn, who.tenant, generation, person.on_record):
            raise Taken("somebody else is reading it now")
    if asked.priority is not msgspec.UNSET:
        await asyncio.to_thread(desks.prioritise, who.tenant, generation, asked.priority)
    if asked.assigned_to is not msgspec.UNSET:
        await asyncio.to_thread(desks.assign, who.tenant, generation, asked.assigned_to)
    changed = await asyncio.to_thread(house.views.queue.find, who.tenant, generation)
    return answer(documents.approval(changed or row))


async def case_for(who: Visit, generation: UUID) -> Case:
    """The case, as far as whoever asks may know of it. Raises NotHere, and Gone for one that can no longer be read."""
    try:
        found = await who.house.approvals.current(who.tenant, generation)
    except Unreadable as error:
        raise Gone(error.message) from error
    if found is None or who.caller not in (None, found.opened.requester):
        raise NotHere(NOTHING)
    return found


def case_answer(found: Case) -> Response[bytes]:
    """A case with its ETag."""
    return answer(documents.case(found), _tag(found))


def _tag(found: Case) -> dict[str, str]:
    return {"etag": f'"{found.content_sha256.hex()}"'}


def _me(who: Visit) -> str:
    return "" if who.caller is not None else who.person(*READS_FIGURES).on_record


async def _counts(who: Visit) -> forms.Counts:
    found = await asyncio.to_thread(who.house.views.queue.counts, who.tenant, _me(who), datetime.now(UTC) + SOON)
    return documents.counts(found)
