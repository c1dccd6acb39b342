"""/log: checkpoints, who signed and cosigned them, where they are carried, and a verification of all of it, now."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect

from audit.note import decode_vkey
from gateway.house import House
from gateway.jobs import Job
from gateway.log_health import health, verify_now
from gateway.people.names import Role
from gateway.ui.rendering import page
from gateway.ui.visitor import Looking, only

_FOR: Final = only(Role.AUDITOR, Role.OPERATOR)


@get("/log", opt=_FOR)
async def log_page(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """How the tenant's log stands."""
    found = await asyncio.to_thread(health, house.settings, house.urls.reader, visitor.tenant)
    parts = await house.check()
    keys = [(vkey, decode_vkey(vkey).scheme.label, vkey in found.former) for vkey in (*found.vkeys, *found.former)]
    witnesses, troubles = house.witnesses.names, house.witnesses.troubles(found.origin)
    return page(
        request, "log.html", health=found, parts=parts, guards=house.upkeep.intact, carried=house.carrier.standing(), keys=keys,
        witnesses=witnesses, troubles=troubles, by_anchors=house.witnesses.by_anchors(found.origin),
    )  # fmt: skip


@post("/log/verify", opt=_FOR, status_code=303)
async def verify_log(house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Begin to verify the whole log."""
    job = Job(visitor.tenant, visitor.person.on_record, "Verification", "records read", "found_report.html")
    settings, reader = house.settings, house.urls.reader
    house.jobs.begin(job, lambda watch: verify_now(settings, reader, job.tenant, watch))
    return Redirect(f"/jobs/{job.id}", status_code=303)
