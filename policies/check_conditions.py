"""Faults of one `when`: conditions that no request, unit or answer can meet, and names that nothing has."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence

from policies.approval import DEFAULT_APPROVAL
from policies.globs import name_matcher
from policies.metrics import MEASURES, Metric, Scale
from policies.modes import Mode
from policies.rules import When
from policies.windows import open_minutes
from policies.words import Action, Phase
from policies.world import World

Problem = tuple[str, str]
"""A dotted key, and what is wrong with it."""


def of_when(when: When, phase: Phase | None, allowed: Sequence[Mode], world: World) -> Iterator[Problem]:
    """Faults of a rule's conditions in its phase, where these modes are allowed; `phase` None is a route's."""
    yield from _too_early(when, phase)
    yield from _contradictions(when)
    yield from of_names("model", when.model, world.models)
    yield from of_names("group", when.group, world.groups)
    yield from _tools("tools_offered", when.tools_offered, world.tools)
    yield from _tools("tools_called", when.tools_called, world.tools)
    if when.metric is not None and phase in (Phase.BLOCK, Phase.RELEASE):
        scale = MEASURES[when.metric].block if phase is Phase.BLOCK else MEASURES[when.metric].answer
        yield from of_threshold(when.metric, scale, when.mode or allowed, when.below, when.above)
    elif when.metric is None and (when.below is not None or when.above is not None):
        yield "metric", "a threshold needs a metric: say which figure it is about"


def of_threshold(
    metric: Metric, scale: Scale | None, modes: Sequence[Mode], below: float | None, above: float | None
) -> Iterator[Problem]:
    """Faults of a threshold on a figure, in these modes."""
    measure = MEASURES[metric]
    if scale is None:
        yield (
            "metric",
            f"{metric.value} is a figure of {'answers' if measure.block is None else 'units'}, not of what is judged here",
        )
        return
    silent = [mode.value for mode in modes if mode is not Mode.AUTO and mode not in measure.modes]
    if silent:
        listed = ", ".join(sorted(mode.value for mode in measure.modes))
        yield "metric", f"{metric.value} is never emitted in {', '.join(silent)}, only in {listed}: name the modes"
    unbounded = [key for key, value in (("below", below), ("above", above)) if value is not None and not math.isfinite(value)]
    if unbounded:
        yield from ((key, "must be a finite number: no record can hold another") for key in unbounded)
    elif below is None and above is None:
        yield "metric", "a metric needs `below`, `above` or both"
    elif not scale.can_be(below, above):
        key = "below" if below is not None else "above"
        yield key, f"{metric.value} ({measure.unit}) lies in {scale.least:g}..{scale.most:g} and can never cross this threshold"
    elif _always(scale, below, above):
        key = "below" if below is not None else "above"
        yield key, f"{metric.value} ({measure.unit}) lies in {scale.least:g}..{scale.most:g} and always crosses this threshold"


def of_bounds(below: float | None, above: float | None) -> Iterator[Problem]:
    """Two thresholds between which nothing lies."""
    if below is not None and above is not None and not above < below:
        yield "below", f"no figure is above {above:g} and below {below:g}"


def of_missing(action: Action | None) -> Iterator[Problem]:
    """An answer to a missing figure that could not be given."""
    if action not in (None, Action.ANNOTATE, Action.HOLD, Action.BLOCK):
        yield "on_missing", "a missing figure can be annotated, held or blocked"


def of_approval(name: str, known: Container[str]) -> Iterator[Problem]:
    """An approval that the document does not have."""
    if name != DEFAULT_APPROVAL and name not in known:
        yield "approval", f"no approval is called {name!r}; add [approvals.{name}]"


def _always(scale: Scale, below: float | None, above: float | None) -> bool:
    return (below is None or below > scale.most) and (above is None or above < scale.least)


def _too_early(when: When, phase: Phase | None) -> Iterator[Problem]:
    if phase is not Phase.RELEASE:
        for key in ("tools_called", "paths"):
            if getattr(when, key) is not None:
                yield key, "is known of a finished answer only: ask for it in the phase `release`"
    if phase in (None, Phase.ADMIT) and when.metric is not None:
        yield "metric", "no figure is known before there is text: ask for it in `block` or `release`"
    if phase is None and when.mode is not None:
        yield "mode", "a route chooses the mode and cannot ask for it"
    if phase is Phase.BLOCK and Mode.AUTO in (when.mode or ()):
        yield "mode", "auto makes no text itself: name the modes that it chooses among"


def _contradictions(when: When) -> Iterator[Problem]:
    if when.has_tools is False and (when.tools_offered is not None or when.tools_called is not None):
        yield "has_tools", "contradicts the tools that are asked for: leave one out"
    span = when.latency_target_ms
    if span is not None and span.least > span.most:
        yield "latency_target_ms", f"no target is at least {span.least} and at most {span.most}"
    if when.time is not None and 1 not in open_minutes(when.time):
        yield "time", "opens as it closes and so never holds: leave `after` and `before` out for the whole day"
    yield from of_bounds(when.below, when.above)


def of_names(key: str, named: Sequence[str] | None, known: frozenset[str] | None) -> Iterator[Problem]:
    """Names that nothing has; `known` None is a world that does not say."""
    if known is None:
        return
    for name in named or ():
        if name not in known:
            yield key, f"nothing is called {name!r}; known: {', '.join(sorted(known)) or 'none'}"


def _tools(key: str, globs: Sequence[str] | None, known: frozenset[str] | None) -> Iterator[Problem]:
    if known is None:
        return
    for glob in globs or ():
        if not any(map(name_matcher((glob,)), known)):
            yield key, f"no tool is called {glob!r}; known: {', '.join(sorted(known)) or 'none'}"
