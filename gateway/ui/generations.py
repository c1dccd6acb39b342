"""/generations: find a request by what is known of it, and see what its records are. Its text is read on a page of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

import policies
from audit.header import Header, decode_header
from audit.records import PromptBody, kind_name
from gateway.errors import BadRequest, NotHere
from gateway.house import House
from gateway.people.duties import READS_CONTENT
from gateway.projections.folding import Stage
from gateway.projections.paging import FIRST, Page, Place
from gateway.projections.search import Sought
from gateway.projections.text_key import text_digest
from gateway.review.marks import on_a_line, visible
from gateway.ui.forms import LONGEST
from gateway.ui.rendering import here_of, page, roles_of
from gateway.ui.reviewing.drawing import drawn
from gateway.ui.reviewing.evidence import evidence_of
from gateway.ui.reviewing.reading import ReadingRoom
from gateway.ui.reviewing.showing import shown
from gateway.ui.visitor import Looking, only

_FOR: Final = only(*roles_of("/generations"))
RECORDS_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class RecordLine:
    """One record of a request: what its header says."""

    seq: int
    kind: str
    at: int
    key_id: str

    @classmethod
    def of(cls, header: Header) -> RecordLine:
        """The line of a header."""
        return cls(header.seq, kind_name(header.kind), header.ts, header.key_id)


@get("/generations", opt=_FOR)
async def generations(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """One page of what was found; the filters are in the address, but a text never: its digest takes its place."""
    here = here_of(request)
    if text := here.get("text"):
        return Redirect(here(text=None, after=None, text_sha256=text_digest(text).hex()), status_code=303)
    sought, part = _sought(here.get), _part(here.get("after"))
    found = await asyncio.to_thread(house.views.search.generations, visitor.tenant, sought, part)
    modes = [mode.value for mode in policies.Mode]
    return page(request, "generations.html", found=found, modes=modes, stages=[each.value for each in Stage])


@get("/generations/{generation:uuid}", opt=_FOR)
async def generation_page(
    request: Request[Any, Any, Any],
    house: NamedDependency[House],
    visitor: Looking,
    generation: FromPath[UUID],
) -> Response[str]:
    """What is known of one request without reading it."""
    told = await asyncio.to_thread(house.views.search.generation, visitor.tenant, generation)
    records = await asyncio.to_thread(_records, house, visitor.tenant, generation)
    if told is None and not records:
        raise NotHere("There is no generation of this id that you may see.")
    return page(
        request, "generation.html", generation=generation, told=told, records=records, more=len(records) > RECORDS_SHOWN,
        may_read=visitor.may(*READS_CONTENT),
    )  # fmt: skip


@get("/generations/{generation:uuid}/reading", opt=only(*READS_CONTENT))
async def reading_page(
    request: Request[Any, Any, Any], visitor: Looking, room: NamedDependency[ReadingRoom], generation: FromPath[UUID]
) -> Response[str]:
    """What was asked and answered, with its drafts; that this person read it is on record first."""
    reading = await room.open(visitor, generation, "read a generation")

    def written() -> Response[str]:
        prompt = next((visible(body.text) for body in reading.bodies if isinstance(body, PromptBody)), "")
        return page(
            request, "generation_reading.html", generation=generation, reading=shown(reading), evidence=evidence_of(reading),
            prompt=prompt, title=on_a_line(reading.review.title), lost=reading.lost, may_read=True,
        )  # fmt: skip

    return await drawn(written)


@get("/generations/{generation:uuid}/live", opt=only(*READS_CONTENT))
async def live_page(
    request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking, generation: FromPath[UUID]
) -> Response[str]:
    """A request as it is drafted: the script follows the feed of the API, which puts each reading on record."""
    if not await asyncio.to_thread(_records, house, visitor.tenant, generation):
        raise NotHere("There is no generation of this id that you may see.")
    return page(request, "generation_live.html", generation=generation, tenant=visitor.tenant)


def _records(house: House, tenant: str, generation: UUID) -> list[RecordLine]:
    """The headers of a request, one more than is shown at most."""
    with house.readers.tenant(tenant) as reader:
        found = []
        for raw in reader.request_headers(generation):
            found.append(RecordLine.of(decode_header(raw)))
            if len(found) > RECORDS_SHOWN:
                break
    return found


def _sought(given: Any) -> Sought:
    """The filters of an address. Raises BadRequest for what none can be."""
    words = {name: given(name)[:LONGEST] or None for name in ("mode", "caller", "workflow", "verdict")}
    state, hashed = given("state"), given("text_sha256")
    if state and state not in list(Stage):
        raise BadRequest("no generation is ever in that state", param="state")
    return Sought(
        **words,
        state=Stage(state) if state else None,
        since=_day(given("since"), "since"),
        until=_day(given("until"), "until", days=1),
        text_sha256=_digest(hashed) if hashed else None,
    )


def _day(text: str, param: str, days: int = 0) -> datetime | None:
    """The beginning of the day of UTC so many days later."""
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC) + timedelta(days)
    except (ValueError, OverflowError) as error:
        raise BadRequest("write a day as 2026-11-26", param=param) from error


def _digest(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError as error:
        raise BadRequest("a digest of a text is 64 hexadecimal digits", param="text_sha256") from error
    if len(found) != 32:
        raise BadRequest("a digest of a text is 64 hexadecimal digits", param="text_sha256")
    return found


def _part(after: str) -> Page:
    return Page(after=Place.read(after)) if after else FIRST
