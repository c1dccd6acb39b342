"""/jobs: how long work stands, and what it came to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.errors import NotHere
from gateway.house import House
from gateway.ui.rendering import page
from gateway.ui.visitor import Looking, anyone


@get("/jobs/{job:uuid}", opt=anyone())
async def show_job(
    request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking, job: FromPath[UUID]
) -> Response[str]:
    """A job, for whoever began it."""
    found = house.jobs.find(visitor.tenant, job)
    if found is None or found.by != visitor.person.on_record:
        raise NotHere("This work is not known here: the gateway was started anew, or another of its processes does it.")
    return page(request, "job.html", job=found)
