"""A number as an option takes it: finite, and within its range."""

from __future__ import annotations

import math
from typing import Any

import rich_click as click


class Number(click.FloatRange):
    """A range that NaN is not in: whatever NaN is compared with, it is neither below nor above."""

    def _describe_range(self) -> str:
        """What help shows: nothing where any finite number will do, for which click says `x<=None`."""
        return "" if self.min is None and self.max is None else super()._describe_range()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Raises BadParameter for anything else, infinity too."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found
