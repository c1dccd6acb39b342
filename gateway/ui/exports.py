"""/exports: the whole log as a bundle that anyone can verify. That it was made, and each download, is on record first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID, uuid4

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import File, Redirect

from audit.acts import Export
from audit.errors import ExportRefused
from audit.export import Format
from audit.note import Scheme, decode_vkey
from audit.writer import Entry
from gateway.appending import append_when_room
from gateway.bundles import Disclose, require_log
from gateway.errors import BadRequest, NotHere
from gateway.export_shelf import NOTHING, ExportShelf, Parcel, Wanted
from gateway.house import House
from gateway.jobs import Job
from gateway.people.names import Role
from gateway.ui.failures import sentence
from gateway.ui.forms import Fields, fields_of
from gateway.ui.rendering import page
from gateway.ui.signing import REFUSALS
from gateway.ui.visitor import Looking, Visitor, only

_FOR: Final = only(Role.AUDITOR)
MOST_REQUESTS: Final = 200


@get("/exports", opt=_FOR)
async def exports(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """What lies ready, and the form for another."""
    return await _shown(request, house, visitor)


@post("/exports", opt=_FOR)
async def make_export(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Put it on record, then begin."""
    asked = await fields_of(request)
    try:
        wanted = await _wanted(house, visitor, asked)
    except (*REFUSALS, ExportRefused) as error:
        return await _shown(request, house, visitor, asked, sentence(error))
    shelf = ExportShelf.of(house)
    job = Job(visitor.tenant, visitor.person.on_record, "Export", "records written", "found_export.html")
    house.jobs.begin(job, lambda watch: shelf.make(wanted, watch))
    return Redirect(f"/jobs/{job.id}", status_code=303)


@get("/exports/{parcel:uuid}", opt=_FOR)
async def show_export(
    request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking, parcel: FromPath[UUID]
) -> Response[str]:
    """One export, and how it is verified."""
    found = await _parcel(house, visitor, parcel)
    return page(request, "export.html", parcel=found, keys=_keys(found))


@post("/exports/{parcel:uuid}/download", opt=_FOR, status_code=200)
async def download(house: NamedDependency[House], visitor: Looking, parcel: FromPath[UUID]) -> File:
    """The archive, once it is on record that this person took it."""
    found = await _parcel(house, visitor, parcel)
    why = f"download of export {found.id}: {found.reason}"
    act = Export("tar.gz", found.size, found.disclosed, found.requests, why, visitor.person.on_record)
    await append_when_room(house.writer, [Entry(visitor.tenant, None, act.requested_by, None, act)])
    name = f"palimpsest-{found.tenant}-{found.size}.tar.gz"
    return File(ExportShelf.of(house).archive(found), filename=name, media_type="application/gzip",
                content_disposition_type="attachment", headers={"cache-control": "no-store"})  # fmt: skip


async def _wanted(house: House, visitor: Visitor, asked: Fields) -> Wanted:
    """Check what is asked for and record it. Raises BadRequest, ExportRefused and AuditError."""
    disclose, shown = _disclosed(asked)
    formats = _formats(asked.texts("format"))
    reason = asked.text("reason", 1500).strip()
    if not reason:
        raise BadRequest("say why: the reason is recorded", param="reason")
    requests = disclose if isinstance(disclose, frozenset) else frozenset()
    size = await asyncio.to_thread(require_log, house.urls.reader, visitor.tenant, requests)
    told = ",".join(sorted({"jsonl", *formats}))
    act = Export(told, size, shown, len(requests), reason, visitor.person.on_record)
    await append_when_room(house.writer, [Entry(visitor.tenant, None, act.requested_by, None, act)])
    return Wanted(uuid4(), visitor.tenant, act.requested_by, reason, disclose, shown, formats, size)


def _disclosed(asked: Fields) -> tuple[Disclose | frozenset[UUID], str]:
    match asked.text("disclose"):
        case "all":
            return Disclose.ALL, "all"
        case "requests":
            return _requests(asked.text("requests", 40 * MOST_REQUESTS)), "requests"
        case _:
            return Disclose.NOTHING, NOTHING


def _requests(text: str) -> frozenset[UUID]:
    try:
        found = frozenset(map(UUID, text.replace(",", " ").split()))
    except ValueError as error:
        raise BadRequest("give the ids of generations, one a line", param="requests") from error
    if not 0 < len(found) <= MOST_REQUESTS:
        raise BadRequest(f"give the ids of 1 to {MOST_REQUESTS} generations, one a line", param="requests")
    return found


def _formats(names: Sequence[str]) -> frozenset[Format]:
    try:
        return frozenset(map(Format, names))
    except ValueError as error:
        raise BadRequest("a further form is one of those listed", param="format") from error


def _keys(parcel: Parcel) -> dict[str, list[str]]:
    """The keys that verify it, by scheme."""
    told = {scheme.label: [vkey for vkey in parcel.vkeys if decode_vkey(vkey).scheme is scheme] for scheme in Scheme}
    return {label: vkeys for label, vkeys in told.items() if vkeys}


async def _parcels(house: House, visitor: Visitor) -> list[Parcel]:
    standing = await house.lifecycle.standing(visitor.tenant)
    return await asyncio.to_thread(ExportShelf.of(house).parcels, visitor.tenant, standing)


async def _parcel(house: House, visitor: Visitor, wanted: UUID) -> Parcel:
    found = next((each for each in await _parcels(house, visitor) if each.id == wanted), None)
    if found is None:
        raise NotHere("There is no such export here. One that shows content goes with what is erased, and all go after a week.")
    return found


async def _shown(
    request: Request[Any, Any, Any], house: House, visitor: Visitor, asked: Fields | None = None, refusal: str = ""
) -> Response[str]:
    parcels = await _parcels(house, visitor)
    formats = [each.value for each in Format if each.value != "jsonl"]
    return page(
        request, "exports.html", 409 if refusal else 200, parcels=parcels, formats=formats, refusal=refusal,
        asked=asked or Fields({"disclose": NOTHING, "requests": request.query_params.get("request", "")}),
    )  # fmt: skip
