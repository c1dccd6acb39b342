"""/api/delegations: who may decide for whom. Lending and ending take the password, and each is a record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from litestar import Request, Response, delete, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from audit.approvals import Delegation
from gateway.api import act_forms, documents, forms
from gateway.api.acts import BODY_LIMIT, refusal
from gateway.api.answering import answer
from gateway.api.asking import body, query
from gateway.api.visit import READS_FIGURES, visit
from gateway.approvals.choices import Delegate, NotDecided
from gateway.house import House
from gateway.people.names import Role


@route("/delegations", http_method=["GET", "HEAD"])
async def list_delegations(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[bytes]:
    """All of a tenant, for whoever reads its figures."""
    who = await visit(request, house)
    who.person(*READS_FIGURES)
    query(request, forms.NoQuery)
    found = await house.approvals.delegations(who.tenant)
    return answer(act_forms.Delegations(list(map(documents.delegation, found))))


@post("/delegations", status_code=200, request_max_body_size=BODY_LIMIT)
async def lend(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[bytes]:
    """Lend the own right to decide."""
    who = await visit(request, house)
    who.person(Role.APPROVER)
    query(request, forms.NoQuery)
    asked = await body(request, act_forms.Lending)
    lent = Delegate(asked.to, asked.starts_at or datetime.now(UTC), asked.ends_at, asked.reason, asked.groups)
    return _told(await house.approvals.delegate(who.tenant, lent, await who.proved(asked.password)))


@delete("/delegations/{delegation:uuid}", status_code=200, request_max_body_size=BODY_LIMIT)
async def end_delegation(
    request: Request[Any, Any, Any], house: NamedDependency[House], delegation: FromPath[UUID]
) -> Response[bytes]:
    """End an own delegation before its time."""
    who = await visit(request, house)
    query(request, forms.NoQuery)
    asked = await body(request, act_forms.Ending)
    return _told(await house.approvals.end_delegation(who.tenant, delegation, await who.proved(asked.password)))


def _told(found: Delegation | NotDecided) -> Response[bytes]:
    """It, as it stands. Raises what an API says of one that was refused."""
    if isinstance(found, NotDecided):
        raise refusal(found)
    return answer(documents.delegation(found))
