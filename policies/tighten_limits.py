"""Where a child's budgets or prices let more through than its parent's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Protocol, TypeVar

from policies.document import Document
from policies.limits import Budget
from policies.modes import CONCRETE
from policies.prices import ModePrice, Prices

Loosening = tuple[str, str]

_SAME = ("per", "unit", "window", "workflow")


class Named(Protocol):
    """An entry of a list that merges by its id."""

    @property
    def id(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)


def under(at: str, found: Iterable[Loosening]) -> Iterator[Loosening]:
    """What was found, its keys below `at`."""
    return ((f"{at}.{key}", reason) for key, reason in found)


def by_id(
    table: str, above: Iterable[Entry], below: Iterable[Entry], judge: Callable[[str, Entry, Entry], Iterator[Loosening]]
) -> Iterator[Loosening]:
    """The parent's entries in their order: that one is gone, or what `judge` finds at the child's of the same id."""
    known = {entry.id: entry for entry in below}
    for entry in above:
        at, other = f"{table}.{entry.id}", known.get(entry.id)
        if other is None:
            yield at, f"the parent has this {table.removesuffix('s')}"
        else:
            yield from judge(at, entry, other)


def of_budgets(parent: Document, child: Document) -> Iterator[Loosening]:
    """Budgets that are gone, count something else, are larger, or do less when they are exceeded."""
    return by_id("budgets", parent.budgets, child.budgets, lambda at, above, below: under(at, _budget(above, below)))


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
        for key in ModePrice.__struct_fields__:
            above, below = getattr(parent.of(mode)[0], key), getattr(child.of(mode)[0], key)
            if Decimal(below) < Decimal(above):
                yield f"prices.{mode.value}.{key}", f"the parent's is {above}"
