"""A number as an option takes it: finite, and within its range."""

from __future__ import annotations

import math
from typing import Any

import rich_click as click


class Number(click.FloatRange):
    """A range that NaN is not in: whatever NaN is compared with, it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Raises BadParameter for anything else, infinity too."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found
