"""/policies: the law in force and on trial, every version, what changed, and the forms that put another in force."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

import policies
from audit.laws import Laws
from audit.writer import SYSTEM
from gateway.errors import BadRequest, NotHere
from gateway.house import House
from gateway.law.enactment import InEffect
from gateway.law.studies import Studies, accepted
from gateway.law.world import world_of
from gateway.people.duties import LAW
from gateway.people.names import Role
from gateway.ui.failures import sentence
from gateway.ui.forms import Fields, fields_of
from gateway.ui.policy_outline import difference, outline, pretty
from gateway.ui.rendering import page, roles_of
from gateway.ui.signing import REFUSALS, warranted
from gateway.ui.visitor import Looking, Visitor, only

_FOR: Final = only(*roles_of("/policies"))
_CHANGED_BY: Final = only(Role.POLICY_ADMIN)
DOCUMENT_MOST: Final = 200_000
DEFAULT_DAYS: Final = 7


def studies_of(house: House, visitor: Visitor) -> Studies:
    """The recorded traffic of the tenant in view."""
    return Studies(house.urls.reader, house.keys, visitor.tenant, house.laws.shipped)


@get("/policies", opt=_FOR)
async def policies_page(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """What is in force and what is tried, all versions, and the forms."""
    return await _shown(request, house, visitor)


@get("/policies/{digest:str}", opt=_FOR)
async def policy_page(
    request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking, digest: FromPath[str]
) -> Response[str]:
    """One version, and what it changed."""
    laws = await house.enactment.laws(visitor.tenant)
    text = text_of(house, laws, digest)
    change = next((each for each in reversed(laws.changes) if each.change.after.hex() == digest), None)
    before = None if change is None or change.change.before is None else change.change.before.hex()
    old = None if before is None else known_text(house, laws, before)
    document = _readable(text)
    sections = [] if document is None else outline(document)
    return page(
        request, "policy.html", digest=digest, change=change, sections=sections, raw=pretty(text),
        lines=[] if old is None else difference(old, text), compared=old is not None,
    )  # fmt: skip


@get("/policies/difference", opt=_FOR)
async def policy_difference(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """Two versions side by side."""
    laws = await house.enactment.laws(visitor.tenant)
    old, new = (request.query_params.get(name, "") for name in ("old", "new"))
    lines = difference(text_of(house, laws, old), text_of(house, laws, new))
    return page(request, "policy_difference.html", old=old, new=new, lines=lines)


@get("/policies/explain", opt=_FOR)
async def explain(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """Why a recorded request was decided so."""
    asked = request.query_params.get("generation", "")
    try:
        generation = UUID(asked)
    except ValueError as error:
        raise BadRequest("Give the id of a generation.", param="generation") from error
    study = await asyncio.to_thread(studies_of(house, visitor).explain, generation)
    return page(request, "policy_explain.html", generation=generation, study=study)


@post("/policies/apply", opt=_CHANGED_BY)
async def apply_policy(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """Put a document in force, or try it on a share of requests."""

    async def act(asked: Fields) -> InEffect:
        policy = await candidate_of(house, visitor, asked)
        share = _share(asked)
        return await house.enactment.apply(visitor.tenant, policy, await warranted(house, visitor, asked, LAW), share)

    return await _done(request, house, visitor, act)


@post("/policies/rollback", opt=_CHANGED_BY)
async def roll_back(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[Any]:
    """End a trial, or go back to the policy before or to the one that is named."""

    async def act(asked: Fields) -> InEffect:
        to, since = asked.text("to").strip(), asked.whole("since", 0, 999_999_999)
        return await house.enactment.rollback(visitor.tenant, await warranted(house, visitor, asked, LAW), to, since)

    return await _done(request, house, visitor, act)


async def candidate_of(house: House, visitor: Visitor, asked: Fields) -> policies.Policy:
    """The policy of the document in a form. Raises BadPolicy with its faults."""
    text = asked.text("document", DOCUMENT_MOST)
    if not text.strip():
        raise BadRequest("paste a policy document", param="document")
    users = [user for tenant in (visitor.tenant, SYSTEM) for user in await asyncio.to_thread(house.directory.users, tenant)]
    return await asyncio.to_thread(accepted, visitor.tenant, text, world_of(house.intake.model.name, users))


def known_text(house: House, laws: Laws, digest: str) -> str | None:
    """The text of a version by its whole digest; None for one that no record holds."""
    if digest == bytes(house.laws.shipped.digest).hex():
        return policies.written(house.laws.shipped)
    return next((each.change.document for each in laws.changes if each.change.after.hex() == digest), None)


def text_of(house: House, laws: Laws, digest: str) -> str:
    """The same. Raises NotHere."""
    found = known_text(house, laws, digest)
    if found is None:
        raise NotHere("No record of this tenant holds a policy of that digest; it may have come with another release.")
    return found


def _readable(text: str) -> policies.Document | None:
    """The document, None for one that another release wrote."""
    try:
        return policies.restored("policy", text).document
    except policies.PolicyError:
        return None


def _share(asked: Fields) -> float | None:
    percent = asked.whole("share", 1, 99)
    return None if percent is None else percent / 100


async def _done(
    request: Request[Any, Any, Any], house: House, visitor: Visitor, act: Callable[[Fields], Awaitable[InEffect]]
) -> Response[Any]:
    asked = await fields_of(request)
    try:
        await act(asked)
    except (*REFUSALS, policies.PolicyError) as error:
        return await _shown(request, house, visitor, asked, sentence(error))
    return Redirect("/policies?done=in-force", status_code=303)


async def _shown(
    request: Request[Any, Any, Any], house: House, visitor: Visitor, asked: Fields | None = None, refusal: str = ""
) -> Response[str]:
    laws = await house.enactment.laws(visitor.tenant)
    now = laws.in_force
    digest = bytes(house.laws.shipped.digest).hex() if now is None else now.digest.hex()
    text = known_text(house, laws, digest)
    document = None if text is None else _readable(text)
    return page(
        request, "policies.html", 409 if refusal else 200, now=now, digest=digest, document=document,
        sections=[] if document is None else outline(document), changes=list(reversed(laws.changes)), refusal=refusal,
        asked=asked or Fields({}), metrics=sorted(metric.value for metric in policies.Metric), days=DEFAULT_DAYS,
        may_ask=visitor.may(Role.POLICY_ADMIN),
    )  # fmt: skip
