"""Whether one `when` holds wherever another does, as far as that can be told from the document alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from policies.globs import matches_all_of, reaches_all_of
from policies.rules import When
from policies.windows import open_minutes
from policies.words import Range

_NAMED: Final = ("risk", "model", "mode", "group")
_GLOBBED: Final = {
    "workflow": matches_all_of, "tools_offered": matches_all_of, "tools_called": matches_all_of, "paths": reaches_all_of,
}  # fmt: skip
"""The keys that hold globs, each with whether one glob stands for all that another does."""


def covers(wide: When, narrow: When) -> bool:
    """True only if `wide` holds of everything that `narrow` holds of; where that cannot be told, False."""
    return (
        all(_subset(getattr(wide, key), getattr(narrow, key)) for key in _NAMED)
        and all(_globbed(getattr(wide, key), getattr(narrow, key), reaches) for key, reaches in _GLOBBED.items())
        and _tools(wide, narrow)
        and _latency(wide.latency_target_ms, narrow.latency_target_ms)
        and _time(wide, narrow)
        and _figure(wide, narrow)
    )


def crosses_wherever(below: float | None, above: float | None, of: tuple[float | None, float | None]) -> bool:
    """Whether whatever lies under `of[0]` and over `of[1]` also lies under `below` and over `above`."""
    other_below, other_above = of
    under = below is None or (other_below is not None and other_below <= below)
    over = above is None or (other_above is not None and other_above >= above)
    return under and over


def _subset(wide: Sequence[str] | None, narrow: Sequence[str] | None) -> bool:
    return wide is None or (narrow is not None and set(narrow) <= set(wide))


def _globbed(wide: Sequence[str] | None, narrow: Sequence[str] | None, reaches: Callable[[str, str], bool]) -> bool:
    if wide is None or narrow is None:
        return wide is None
    same = {glob.casefold() for glob in wide}  # the usual case, and the cheap one
    return all(other.casefold() in same or any(reaches(glob, other) for glob in wide) for other in narrow)


def _tools(wide: When, narrow: When) -> bool:
    implied = narrow.has_tools is True or narrow.tools_offered is not None
    return wide.has_tools is None or (implied if wide.has_tools else narrow.has_tools is False)


def _latency(wide: Range | None, narrow: Range | None) -> bool:
    return wide is None or (narrow is not None and wide.least <= narrow.least and narrow.most <= wide.most)


def _time(wide: When, narrow: When) -> bool:
    if wide.time is None:
        return True
    if narrow.time is None:
        return False
    return all(inner <= outer for outer, inner in zip(open_minutes(wide.time), open_minutes(narrow.time), strict=True))


def _figure(wide: When, narrow: When) -> bool:
    if wide.metric is None:
        return True
    return wide.metric is narrow.metric and crosses_wherever(wide.below, wide.above, (narrow.below, narrow.above))
