"""/policies/replay and /policies/sweep: what another policy, or another threshold, would have done to recorded requests."""

from __future__ import annotations

import math
from typing import Any, Final

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.response import Redirect

import policies
from gateway.errors import BadRequest
from gateway.house import House
from gateway.jobs import Job
from gateway.ui.failures import failed, sentence
from gateway.ui.forms import Fields, fields_of
from gateway.ui.policy_pages import candidate_of, known_text, studies_of
from gateway.ui.rendering import roles_of
from gateway.ui.signing import REFUSALS
from gateway.ui.visitor import Looking, Visitor, only

_FOR: Final = only(*roles_of("/policies"))
STEPS_MOST: Final = 100
DAYS_MOST: Final = 3650


@post("/policies/replay", opt=_FOR)
async def replay_policy(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Judge recorded requests again, under a document or a version; without either, check only what is in force."""
    asked = await fields_of(request)
    try:
        candidate = await _candidate(house, visitor, asked)
        days = asked.whole("days", 1, DAYS_MOST)
    except (*REFUSALS, policies.PolicyError) as error:
        return failed(request, 409, sentence(error))
    studies = studies_of(house, visitor)
    job = Job(visitor.tenant, visitor.person.on_record, "Replay", "records read", "found_study.html")
    house.jobs.begin(job, lambda watch: studies.replay(candidate, days, watch))
    return Redirect(f"/jobs/{job.id}", status_code=303)


@post("/policies/sweep", opt=_FOR)
async def sweep_policy(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Move every threshold on one figure over recorded requests."""
    asked = await fields_of(request)
    try:
        metric, thresholds = _metric(asked), _thresholds(asked)
        days = asked.whole("days", 1, DAYS_MOST)
    except REFUSALS as error:
        return failed(request, 409, sentence(error))
    studies = studies_of(house, visitor)
    job = Job(visitor.tenant, visitor.person.on_record, "Sweep", "records read", "found_study.html")
    house.jobs.begin(job, lambda watch: studies.sweep(metric, thresholds, days, watch))
    return Redirect(f"/jobs/{job.id}", status_code=303)


async def _candidate(house: House, visitor: Visitor, asked: Fields) -> policies.Policy | None:
    version = asked.text("version").strip()
    if version:
        text = known_text(house, await house.enactment.laws(visitor.tenant), version)
        if text is None:
            raise BadRequest("no record holds a policy of that digest", param="version")
        return policies.restored(version[:16], text)
    return await candidate_of(house, visitor, asked) if asked.text("document", 200_000).strip() else None


def _metric(asked: Fields) -> policies.Metric:
    try:
        return policies.Metric(asked.text("metric"))
    except ValueError as error:
        raise BadRequest("choose the figure whose thresholds are moved", param="metric") from error


def _thresholds(asked: Fields) -> list[float]:
    try:
        low, high = float(asked.text("low")), float(asked.text("high"))
    except ValueError as error:
        raise BadRequest("give the first and the last threshold as numbers", param="low") from error
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadRequest("give the first and the last threshold as numbers", param="low")
    steps = asked.whole("steps", 2, STEPS_MOST) or 11
    return [low + (high - low) * step / (steps - 1) for step in range(steps)]
