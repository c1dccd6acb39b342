"""`check`: everything that is wrong with a document, at once and in its place; `faults` says the same as keys and reasons."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from policies.check_conditions import Problem, of_when
from policies.check_demands import of_gates, of_rules
from policies.check_limits import of_approvals, of_budgets, of_words
from policies.document import Document
from policies.errors import Finding, PolicyError
from policies.implies import covers
from policies.modes import Mode
from policies.policy import Policy, seal
from policies.reading import Resolved, resolve
from policies.rules import Route
from policies.world import ANYWHERE, World


def check(path: Path, world: World = ANYWHERE) -> Policy | list[Finding]:
    """The policy at `path`, or all that is wrong with it, in the order of the document's tables. Raises nothing.

    `world` says which models, groups, tools and time zones exist; a name that does not is a fault, never without effect.
    """
    try:
        resolved = resolve(path)
    except PolicyError as error:
        return [error.finding, *error.others]
    found = [*resolved.loosened, *findings(resolved, world)]
    return found or seal(path.stem, resolved.document)


def findings(resolved: Resolved, world: World = ANYWHERE) -> list[Finding]:
    """What is wrong with a document that is complete and closed."""
    return [resolved.finding(path, reason) for path, reason in faults(resolved.document, world, resolved.own)]


def faults(document: Document, world: World = ANYWHERE, own: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """Dotted keys and what is wrong with each; `own` are the entries that the last document of a chain writes."""
    yield from of_words(document, world)
    yield from of_gates(document, own)
    yield from of_rules(document, world, own)
    yield from _routes(document, world, own)
    yield from of_approvals(document, world)
    yield from of_budgets(document)


def _routes(document: Document, world: World, own: frozenset[str]) -> Iterator[Problem]:
    for route in document.routes:
        at = f"routes.{route.id}"
        for key, reason in of_when(route.when, None, document.modes.allowed, world):
            yield f"{at}.when.{key}", reason
        for mode in route.modes:
            if mode not in document.modes.choices:
                yield f"{at}.modes", f"{mode.value!r} is not permitted by modes.allowed"
            else:
                yield from ((f"{at}.{key}", reason) for key, reason in _knobs(document, route, mode))
    for earlier, later in combinations(document.routes, 2):
        if f"routes.{later.id}" in own and covers(earlier.when, later.when):
            yield f"routes.{later.id}", f"is never taken: route {earlier.id!r} comes first and holds whenever this one does"


def _knobs(document: Document, route: Route, mode: Mode) -> Iterator[Problem]:
    """A route tunes within what the mode permits."""
    knobs = document.modes.knobs(mode)
    if route.threshold is not None and knobs.threshold is None:
        yield "threshold", f"mode {mode.value} does not commit by confidence"
    for key in ("block_length", "threshold", "max_steps"):
        ours, theirs = getattr(route, key), getattr(knobs, key)
        if ours is not None and theirs is not None and not (theirs.least <= ours.least and ours.most <= theirs.most):
            yield key, f"must lie in {theirs.least}..{theirs.most}, which modes.{mode.value} permits"
    choices = knobs.block_length.choices
    if route.block_length is not None and choices and not set(route.block_length.choices or (0,)) <= set(choices):
        yield "block_length.choices", f"must be some of {list(choices)}"
    if route.seed_first is not None and route.seed_first.client_may_set and not knobs.seed_first.client_may_set:
        yield "seed_first.client_may_set", f"modes.{mode.value} lets no client set it"
