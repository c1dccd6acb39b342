"""Where a child's budgets or prices let more through than its parent's."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from policies.document import Document
from policies.limits import Budget
from policies.modes import CONCRETE
from policies.prices import Prices

Loosening = tuple[str, str]

_SAME = ("per", "unit", "window", "workflow")
_PRICES = ("prompt_tokens", "answer_tokens", "forwards", "gpu_seconds")


def of_budgets(parent: Document, child: Document) -> Iterator[Loosening]:
    """Budgets that are gone, count something else, are larger, or do less when they are exceeded."""
    below = {budget.id: budget for budget in child.budgets}
    for budget in parent.budgets:
        at, other = f"budgets.{budget.id}", below.get(budget.id)
        if other is None:
            yield at, "the parent has this budget"
            continue
        yield from ((f"{at}.{key}", reason) for key, reason in _budget(budget, other))


def _budget(budget: Budget, other: Budget) -> Iterator[Loosening]:
    for key in _SAME:
        if getattr(budget, key) != getattr(other, key):
            yield key, f"the parent's is {getattr(budget, key)!s}"
    if other.exact > budget.exact:
        yield "amount", f"the parent's is {budget.amount}"
    if other.on_exceed.rank < budget.on_exceed.rank:
        yield "on_exceed", f"the parent's is {budget.on_exceed.value}"
    same = other.on_exceed is budget.on_exceed
    if same and other.downgrade_to is not budget.downgrade_to:
        yield "downgrade_to", "the parent goes down to another mode"
    if same and other.approval != budget.approval:
        yield "approval", f"the parent asks for {budget.approval!r}"


def of_prices(parent: Prices, child: Prices) -> Iterator[Loosening]:
    """A lower price makes every budget in money larger; another currency cannot be compared."""
    if parent == Prices():
        return
    if child.currency != parent.currency:
        yield "prices.currency", f"the parent's is {parent.currency}"
    for mode in CONCRETE:
        for key in _PRICES:
            above, below = getattr(parent.of(mode)[0], key), getattr(child.of(mode)[0], key)
            if Decimal(below) < Decimal(above):
                yield f"prices.{mode.value}.{key}", f"the parent's is {above}"
