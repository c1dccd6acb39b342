"""What a child document grants that its parent does not.

`loosenings` is the whole law of inheritance: it yields a dotted key and a reason for each grant, and nothing for a child that
only narrows ranges, removes modes, lowers limits, asks for more or holds text longer. What the parent lists as `overridable` is
the child's to change. How long a client waits (`hold_seconds`), defaults within their ranges, and reasons grant nothing;
`on_missing`, `risk_unsaid`, `timezone` and prices bind where a gate, rule, route or budget of the parent needs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from policies.document import Document
from policies.limits import Limits
from policies.modes import CONCRETE, Knobs, Modes
from policies.rules import When
from policies.tighten_demands import of_approvals, of_gates, of_routes, of_rules
from policies.tighten_limits import Loosening, of_budgets, of_prices
from policies.words import ANY_TENANT, Enforcement, OnDisallowed, Release

_NEVER = ("tenant", "overridable")


class Range(Protocol):
    """Anything with two bounds that include their ends."""

    @property
    def least(self) -> float: ...
    @property
    def most(self) -> float: ...


def loosenings(parent: Document, child: Document) -> Iterator[Loosening]:
    """Every point at which `child` is looser than `parent` and may not be, in document order."""
    for key, reason in _all(parent, child):
        if key.partition(".")[0] in _NEVER or not any(_within(key, listed) for listed in parent.overridable):
            yield key, reason


def _within(key: str, listed: str) -> bool:
    return key == listed or key.startswith(f"{listed}.")


def _all(parent: Document, child: Document) -> Iterator[Loosening]:
    yield from _words(parent, child)
    yield from _modes(parent.modes, child.modes)
    yield from _limits(parent.limits, child.limits)
    yield from of_gates(parent, child)
    yield from of_rules(parent, child)
    yield from of_routes(parent, child)
    yield from of_approvals(parent, child)
    yield from of_budgets(parent, child)
    yield from of_prices(parent.prices, child.prices)


def _words(parent: Document, child: Document) -> Iterator[Loosening]:
    if parent.tenant not in (ANY_TENANT, child.tenant):
        yield "tenant", f"the parent belongs to tenant {parent.tenant!r}"
    added = sorted(set(child.overridable) - set(parent.overridable))
    if added:
        yield "overridable", f"the parent does not let {added[0]!r} be changed"
    if parent.enforcement is Enforcement.ENFORCE and child.enforcement is Enforcement.SHADOW:
        yield "enforcement", "the parent is enforced"
    if parent.release is Release.WHOLE and child.release is Release.STREAM:
        yield "release", "the parent releases whole answers only"
    silent = [name for name in _silent(parent) if name not in _silent(child)]
    if silent and child.risk_unsaid is not parent.risk_unsaid:
        yield (
            "risk_unsaid",
            f"{silent[0]} would no longer be for requests that state no risk, which are {parent.risk_unsaid.value!r}",
        )
    if child.timezone != parent.timezone and _keeps_time(parent):
        yield "timezone", f"the parent's windows are in {parent.timezone}"


def _silent(document: Document) -> list[str]:
    """The rules and routes that ask for a risk and have it of a request that states none."""
    entries: list[tuple[str, When]] = [(f"rule {rule.id!r}", rule.when) for rule in document.rules]
    entries += [(f"route {route.id!r}", route.when) for route in document.routes]
    return [name for name, when in entries if when.risk is None or document.risk_unsaid in when.risk]


def _keeps_time(document: Document) -> bool:
    whens = (*(rule.when for rule in document.rules), *(route.when for route in document.routes))
    return bool(document.budgets) or any(when.time is not None for when in whens)


def _modes(parent: Modes, child: Modes) -> Iterator[Loosening]:
    for mode in child.allowed:
        if mode not in parent.allowed:
            yield "modes.allowed", f"the parent does not permit {mode.value!r}"
    if child.client_may_choose and not parent.client_may_choose:
        yield "modes.client_may_choose", "the parent lets no client choose"
    if parent.on_disallowed is OnDisallowed.REFUSE and child.on_disallowed is not OnDisallowed.REFUSE:
        yield "modes.on_disallowed", "the parent refuses who asks for a mode that is not permitted"
    for mode in CONCRETE:
        for key, reason in _of_knobs(parent.knobs(mode), child.knobs(mode)):
            yield f"modes.{mode.value}.{key}", reason


def _of_knobs(parent: Knobs, child: Knobs) -> Iterator[Loosening]:
    """Where one mode may be tuned further than before."""
    yield from _range("block_length", parent.block_length, child.block_length)
    above, below = parent.block_length.choices, child.block_length.choices
    if above and not (below and set(below) <= set(above)):
        yield "block_length.choices", f"the parent permits only {list(above)}"
    yield from _range("max_steps", parent.max_steps, child.max_steps)
    if parent.threshold is None and child.threshold is not None:
        yield "threshold", "the parent's does not commit by confidence, but by an even schedule"
    elif parent.threshold is not None and child.threshold is not None:
        yield from _range("threshold", parent.threshold, child.threshold)
    if child.seed_first.client_may_set and not parent.seed_first.client_may_set:
        yield "seed_first.client_may_set", "the parent lets no client set it"


def _limits(parent: Limits, child: Limits) -> Iterator[Loosening]:
    if child.max_tokens > parent.max_tokens:
        yield "limits.max_tokens", f"the parent's limit is {parent.max_tokens}"
    if child.max_prompt_tokens > parent.max_prompt_tokens:
        yield "limits.max_prompt_tokens", f"the parent's limit is {parent.max_prompt_tokens}"


def _range(key: str, parent: Range, child: Range) -> Iterator[Loosening]:
    if child.least < parent.least:
        yield f"{key}.least", f"the parent's is {parent.least}"
    if child.most > parent.most:
        yield f"{key}.most", f"the parent's is {parent.most}"
