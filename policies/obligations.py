"""From demands to what a person must do: the holds among them, by the approval that each one names."""

from __future__ import annotations

from collections.abc import Iterable

from policies.document import Document
from policies.verdicts import Obligation
from policies.words import Action

Asked = tuple[Action, str, str]
"""A demand: its action, its label, and the approval that it names."""


def obligations(document: Document, asks: Iterable[Asked]) -> tuple[Obligation, ...]:
    """One obligation per approval that a hold names, in the order of the first such hold; all of them bind."""
    because: dict[str, list[str]] = {}
    for action, label, approval in asks:
        if action is Action.HOLD:
            because.setdefault(approval, []).append(label)
    return tuple(Obligation(name, document.approval(name), tuple(labels)) for name, labels in because.items())


def joined(first: Iterable[Obligation], second: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """Both lists as one, with one obligation per approval."""
    merged = {each.name: each for each in first}
    for each in second:
        known = merged.get(each.name)
        labels = (*(known.because if known else ()), *each.because)
        merged[each.name] = Obligation(each.name, each.approval, tuple(dict.fromkeys(labels)))
    return tuple(merged.values())
