"""What each mode brought and cost by day, from sums that the follower keeps: a year is a few hundred rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Engine, select

from gateway.projections.days import FIGURES, Sums
from gateway.projections.tables import DayRow


@dataclass(frozen=True, slots=True)
class Economics:
    """What some generations add up to. Money is by the price sheet of each one's policy.

    `seconds` is from the first record to the last of each, `busy_seconds` what the device worked for them, both added up;
    ratios of nothing are None.
    """

    mode: str
    currency: str
    sums: Sums

    @property
    def seconds(self) -> float:
        """How long they took, one after the other."""
        return self.sums.microseconds / 1_000_000

    @property
    def busy_seconds(self) -> float:
        """How long the device worked for them: of every pass, the share of their rows."""
        return self.sums.busy_us / 1_000_000

    @property
    def tokens_per_forward(self) -> float | None:
        """Sum of tokens over sum of forwards, which count every pass after prefill."""
        return self.sums.tokens / self.sums.forwards if self.sums.forwards else None

    @property
    def held_share(self) -> float | None:
        """The fraction whose answer was put before people."""
        return self.sums.held / self.sums.generations if self.sums.generations else None

    @property
    def money_per_million(self) -> Decimal | None:
        """For a million tokens of answer."""
        return self.sums.money * 1_000_000 / self.sums.tokens if self.sums.tokens else None


@dataclass(frozen=True, slots=True)
class Day:
    """One mode on one day of UTC."""

    day: date
    figures: Economics


class Ledger:
    """The sums of one tenant at a time. Blocking: call it in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def days(self, tenant: str, since: date, until: date) -> list[Day]:
        """Every mode of every day from `since` to `until`, both included, the newest day first."""
        columns = [getattr(DayRow, name) for name in ("day", "mode", "currency", *FIGURES)]
        query = (
            select(*columns)
            .where(DayRow.tenant == tenant, DayRow.day >= since, DayRow.day <= until)
            .order_by(DayRow.day.desc(), DayRow.mode, DayRow.currency)
        )
        with self._engine.connect() as connection:
            return [Day(row[0], Economics(row[1], row[2], Sums(*row[3:]))) for row in connection.execute(query)]


def by_mode(days: Sequence[Day]) -> list[Economics]:
    """The same days added up for each mode and currency."""
    found: defaultdict[tuple[str, str], Sums] = defaultdict(Sums)
    for each in days:
        found[each.figures.mode, each.figures.currency] += each.figures.sums
    return [Economics(mode, currency, sums) for (mode, currency), sums in sorted(found.items(), key=lambda item: item[0])]
