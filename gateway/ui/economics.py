"""/economics: what each mode brought and cost, over the days in the address."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from litestar import Request, Response, get
from litestar.di import NamedDependency

from gateway.errors import BadRequest
from gateway.house import House
from gateway.projections.economics import Day, Economics, by_mode
from gateway.ui.charts import Chart, bars, columns
from gateway.ui.rendering import here_of, page, roles_of
from gateway.ui.visitor import Looking, only
from gateway.ui.words import grouped, spaced

DAYS: Final = 30
DAYS_MOST: Final = 366


@get("/economics", opt=only(*roles_of("/economics")))
async def economics(request: Request[Any, Any, Any], house: NamedDependency[House], visitor: Looking) -> Response[str]:
    """Charts and their tables."""
    here = here_of(request)
    since, until = _span(here.get("since"), here.get("until"))
    days = await asyncio.to_thread(house.views.ledger.days, visitor.tenant, since, until)
    modes = by_mode(days)
    return page(
        request, "economics.html", modes=modes, days=days, since=since, until=until, per_forward=_per_forward(modes),
        by_day=_by_day(days, since, until), rate=rate,
    )  # fmt: skip


def rate(figures: Economics) -> float | None:
    """Tokens a second of one request, on average over its tokens."""
    return figures.sums.tokens / figures.seconds if figures.seconds else None


def _per_forward(modes: Sequence[Economics]) -> Chart:
    known = [(each, each.tokens_per_forward) for each in modes]
    told = [(_named(each, modes), value, grouped(float(value))) for each, value in known if value is not None]
    return bars("Tokens per forward, by mode", told)


def _named(figures: Economics, modes: Sequence[Economics]) -> str:
    """A mode, with its currency where there are several."""
    several = len({each.currency for each in modes}) > 1
    return f"{spaced(figures.mode)} {figures.currency}".strip() if several else spaced(figures.mode)


def _by_day(days: Sequence[Day], since: date, until: date) -> Chart:
    tokens: defaultdict[date, int] = defaultdict(int)
    for each in days:
        tokens[each.day] += each.figures.sums.tokens
    span = [since + timedelta(days=place) for place in range((until - since).days + 1)]
    told = [(f"{day}", float(tokens[day]), f"{grouped(tokens[day])} tokens") for day in span]
    return columns("Tokens answered, by day", told)


def _span(since: str, until: str) -> tuple[date, date]:
    try:
        last = date.fromisoformat(until) if until else datetime.now(UTC).date()
        first = date.fromisoformat(since) if since else last - timedelta(days=DAYS - 1)
    except (ValueError, OverflowError) as error:
        raise BadRequest("write a day as 2026-11-26", param="since") from error
    if not 0 <= (last - first).days < DAYS_MOST:
        raise BadRequest(f"ask for 1 to {DAYS_MOST} days", param="since")
    return first, last
