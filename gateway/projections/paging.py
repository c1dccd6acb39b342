"""Pages by key: each begins behind the last row of the one before, so while rows come none is told twice or passed over."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar
from uuid import UUID

from gateway.errors import BadRequest
from gateway.projections.folding import EPOCH

ROWS: Final = 50
ROWS_MOST: Final = 200
_MICROSECOND: Final = timedelta(microseconds=1)
_LONGEST: Final = 64
_LAST_MOMENT: Final = 253_402_300_799_999_999
"""Microseconds to the end of the year 9999."""
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: by a number, then a time, then its id, whichever the order uses."""

    at: datetime
    id: UUID
    rank: int = 0

    def __str__(self) -> str:
        """As a client keeps it: letters, digits, - and _."""
        micros = (self.at - EPOCH) // _MICROSECOND
        return base64.urlsafe_b64encode(f"{self.rank}.{micros}.{self.id.hex}".encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Place:
        """What `str` has written. Raises BadRequest for anything else."""
        try:
            if len(text) > 2 * _LONGEST:
                raise ValueError(text)
            padded = text + "=" * (-len(text) % 4)
            rank, micros, name = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").split(".")
            moment = int(micros)
            if not 0 <= moment <= _LAST_MOMENT or abs(int(rank)) >= 1 << 31:
                raise ValueError(text)
            return cls(EPOCH + moment * _MICROSECOND, UUID(name), int(rank))
        except (ValueError, binascii.Error) as error:
            raise BadRequest("this is no place in a list: take `next` from the page before", param="after") from error


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: at most `rows`, behind `after`."""

    rows: int = ROWS
    after: Place | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= ROWS_MOST:
            raise BadRequest(f"a page has 1 to {ROWS_MOST} rows", param="rows")


FIRST: Final = Page()


@dataclass(frozen=True, slots=True)
class Found(Generic[R]):
    """One page, and where the next one begins; None behind the last row."""

    rows: Sequence[R]
    next: Place | None
