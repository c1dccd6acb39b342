"""GET /api/economics: what each mode brought and cost, by day."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from litestar import Request, Response, route
from litestar.di import NamedDependency

from gateway.api import documents, forms
from gateway.api.answering import answer
from gateway.api.asking import given, query
from gateway.api.visit import visit
from gateway.errors import BadRequest
from gateway.house import House
from gateway.people.names import Role

READERS: Final = (Role.AUDITOR, Role.OPERATOR, Role.POLICY_ADMIN)
DAYS: Final = 30
DAYS_MOST: Final = 3660


@route("/economics", http_method=["GET", "HEAD"])
async def show_economics(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[bytes]:
    """Sums of the tenant by mode and day."""
    who = await visit(request, house)
    who.person(*READERS)
    asked = query(request, forms.DaysQuery)
    until = given(asked.until) or datetime.now(UTC).date()
    since = given(asked.since) or until - timedelta(days=min(DAYS - 1, until.toordinal() - 1))
    if not 0 <= (until - since).days < DAYS_MOST:
        raise BadRequest(f"the days are from `since` to `until`, at most {DAYS_MOST} of them", param="since")
    found = await asyncio.to_thread(house.views.ledger.days, who.tenant, since, until)
    modes, days = documents.economy_days(found)
    return answer(forms.EconomyDays(since, until, modes, days))
