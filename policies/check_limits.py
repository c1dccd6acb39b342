"""Faults of a document's other tables: defaults, approvals, budgets and prices."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from policies.check_conditions import Problem, of_approval, of_missing, of_names
from policies.document import Document
from policies.limits import Budget, OnExceed, Per, Unit
from policies.world import World

_COUNTED = (Unit.REQUESTS, Unit.CONCURRENCY, Unit.TOKENS, Unit.FORWARDS)


def of_words(document: Document, world: World) -> Iterator[Problem]:
    """Faults of the keys above all tables."""
    yield from of_missing(document.on_missing)
    if world.timezones is not None and document.timezone not in world.timezones:
        yield "timezone", f"no time zone is called {document.timezone!r}"
    for key in document.overridable:
        if key.partition(".")[0] in ("schema", "tenant", "inherit", "overridable"):
            yield "overridable", f"{key!r} is never a child's to change"


def of_approvals(document: Document, world: World) -> Iterator[Problem]:
    """Faults of the approvals."""
    for name, approval in document.approvals.items():
        at = f"approvals.{name}"
        if approval.hold_seconds > approval.expires_seconds:
            yield f"{at}.hold_seconds", f"a hold cannot outlast its expiry after {approval.expires_seconds} s"
        yield from of_names(f"{at}.groups", approval.groups, world.groups)


def of_budgets(document: Document) -> Iterator[Problem]:
    """Faults of the budgets, and of the prices that they need."""
    for budget in document.budgets:
        for key, reason in _budget(document, budget):
            yield f"budgets.{budget.id}.{key}", reason
    if any(budget.unit is Unit.MONEY for budget in document.budgets):
        for mode in document.modes.allowed:
            if all(Decimal(getattr(price, key)) == 0 for price in document.prices.of(mode) for key in price.__struct_fields__):
                yield f"prices.{mode.value}", "a budget in money needs a price for every mode that is allowed"


def _budget(document: Document, budget: Budget) -> Iterator[Problem]:
    if budget.exact == 0:
        yield "amount", "nothing fits a budget of zero: block by a rule, or name an amount"
    if budget.unit in _COUNTED and budget.exact != budget.exact.to_integral_value():
        yield "amount", f"{budget.unit.value} are counted in whole numbers"
    if (budget.window is None) is not (budget.unit is Unit.CONCURRENCY):
        yield "window", "every budget needs a window, but for concurrency, which has none"
    if budget.per is Per.WORKFLOW and budget.workflow is None:
        yield "workflow", "a budget per workflow says which, `*` for each"
    if (budget.downgrade_to is None) is not (budget.on_exceed is not OnExceed.DOWNGRADE_MODE):
        yield "downgrade_to", "on_exceed downgrade_mode needs it, and nothing else has it"
    if budget.downgrade_to is not None and budget.downgrade_to not in document.modes.choices:
        yield "downgrade_to", f"{budget.downgrade_to.value!r} is not permitted by modes.allowed"
    yield from of_approval(budget.approval, document.approvals)
