"""How people share the queue from the review page. No signature, no record: it decides nothing."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from litestar import Response, post
from litestar.params import FromPath
from litestar.response import Redirect

from gateway.errors import BadRequest, NotHere
from gateway.people.duties import SHARES_WORK
from gateway.projections.desk import PRIORITY_MOST, Desks
from gateway.ui.forms import Fields, fields_of
from gateway.ui.reviewing.pages import GONE
from gateway.ui.reviewing.view import Viewing
from gateway.ui.visitor import Visitor, only


@post("/approvals/{generation:uuid}/desk", opt=only(*SHARES_WORK), status_code=303)
async def set_desk(view: Viewing, generation: FromPath[UUID]) -> Response[Any]:
    """Take an answer, give it back, say that one reads it, assign it, or put it before others."""
    fields, views = await fields_of(view.request), view.house.views
    if await asyncio.to_thread(views.queue.find, view.tenant, generation) is None:
        raise NotHere(GONE)
    done = await asyncio.to_thread(_set, views.desks, view.visitor, generation, fields)
    return Redirect(f"/approvals/{generation}?done={'desk' if done else 'taken'}", status_code=303)


def _set(desks: Desks, visitor: Visitor, generation: UUID, fields: Fields) -> bool:
    tenant, me = visitor.tenant, visitor.person.on_record
    match fields.text("do"):
        case "take":
            return desks.lock(tenant, generation, me) and desks.assign(tenant, generation, me)  # refused, nothing is done
        case "give-back":
            return desks.assign(tenant, generation, None) and desks.unlock(tenant, generation, me)
        case "lock":
            return desks.lock(tenant, generation, me)
        case "unlock":
            return desks.unlock(tenant, generation, me)
        case "assign":
            return desks.assign(tenant, generation, fields.text("to", 64).strip() or None)
        case "order":
            return desks.prioritise(tenant, generation, _priority(fields))
        case _:
            raise BadRequest("This form asks for nothing that a desk has.", param="do")


def _priority(fields: Fields) -> int:
    try:
        wanted = int(fields.text("priority", 8))
    except ValueError as error:
        raise BadRequest("A priority is a whole number.", param="priority") from error
    return max(-PRIORITY_MOST, min(PRIORITY_MOST, wanted))
