"""Faults of gates and rules: demands that cannot be carried out where they are made, and rules that never decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from policies.check_conditions import Problem, of_approval, of_bounds, of_missing, of_threshold, of_when
from policies.document import Document
from policies.gates import Gate, Refine
from policies.implies import covers, crosses_wherever
from policies.metrics import MEASURES
from policies.modes import Mode
from policies.rules import Rule
from policies.words import AGAIN, Action, Phase
from policies.world import World


def of_gates(document: Document, own: frozenset[str]) -> Iterator[Problem]:
    """Faults of the gates; `own` are the entries that the last document itself writes, by path.

    Only its own can be needless: what it inherits it cannot drop, and may well have made needless by tightening another.
    """
    for gate in document.gates:
        at = f"gates.{gate.id}"
        for key, reason in _gate(document, gate):
            yield f"{at}.{key}", reason
        if at in own and not set(gate.modes) & set(document.modes.allowed):
            yield f"{at}.modes", "none of these modes is allowed: the gate never judges"
    for earlier, later in combinations(document.gates, 2):
        if f"gates.{later.id}" in own and _covers(earlier, later) and _silences(document, earlier, later):
            yield f"gates.{later.id}", f"can never decide: gate {earlier.id!r} is as strict wherever this one is crossed"


def of_rules(document: Document, world: World, own: frozenset[str]) -> Iterator[Problem]:
    """Faults of the rules."""
    for rule in document.rules:
        at = f"rules.{rule.id}"
        for key, reason in of_when(rule.when, rule.phase, document.modes.allowed, world):
            yield f"{at}.when.{key}", reason
        for key, reason in _rule(document, rule):
            yield f"{at}.{key}", reason
        modes = rule.when.mode
        if at in own and modes is not None and not set(modes) & set(document.modes.choices):
            yield f"{at}.when.mode", "none of these modes is allowed: the rule never matches"
    for earlier, later in combinations(document.rules, 2):
        asked = f"rules.{later.id}" in own and earlier.phase is later.phase
        if asked and covers(earlier.when, later.when) and _silences(document, earlier, later):
            yield f"rules.{later.id}", f"can never decide: rule {earlier.id!r} matches whenever this one does and is as strict"


def _gate(document: Document, gate: Gate) -> Iterator[Problem]:
    yield from of_threshold(gate.metric, MEASURES[gate.metric].block, gate.modes, gate.below, gate.above)
    yield from of_bounds(gate.below, gate.above)
    if Mode.AUTO in gate.modes:
        yield "modes", "auto makes no text itself: name the modes that it chooses among"
    yield from _demand(document, gate, gate.modes)


def _rule(document: Document, rule: Rule) -> Iterator[Problem]:
    if rule.phase is Phase.BLOCK:
        yield from _demand(document, rule, rule.when.mode or tuple(Mode))
        return
    if rule.action in AGAIN:
        yield "action", f"only a unit can be decoded again, not in the phase `{rule.phase.value}`: hold or block"
    yield from of_approval(rule.approval, document.approvals)
    yield from _refine(rule.action, rule.refine)
    yield from of_missing(rule.on_missing)


def _demand(document: Document, asked: Gate | Rule, modes: Sequence[Mode]) -> Iterator[Problem]:
    """Faults of what is demanded of a unit made in one of `modes`."""
    if asked.action in AGAIN and set(modes) != {Mode.DIFFUSION}:
        yield "action", "causal text is what ar would write and cannot be decoded again: name the mode diffusion alone, or hold"
    yield from _refine(asked.action, asked.refine)
    falls_back = Action.REDO_AR in (asked.action, asked.refine and asked.refine.then)
    judged = Mode.DIFFUSION in document.modes.allowed
    if falls_back and judged and Mode.AR not in document.modes.allowed:
        key = "action" if asked.action is Action.REDO_AR else "refine.then"
        yield key, "decodes again in ar, which is not in modes.allowed: allow it, or hold"
    yield from of_missing(asked.on_missing)
    yield from of_approval(asked.approval, document.approvals)


def _refine(action: Action, refine: Refine | None) -> Iterator[Problem]:
    if (action is Action.REFINE) is not (refine is not None):
        yield "refine", "the action refine needs a table `refine`, and no other action has one"
    if refine is not None and refine.then not in (Action.REDO_AR, Action.HOLD, Action.BLOCK):
        yield "refine.then", "after the last attempt a unit is decoded again, held or blocked: redo_ar, hold or block"


def _covers(earlier: Gate, later: Gate) -> bool:
    """Whether the earlier gate is crossed, or misses its figure, wherever the later one is or does."""
    return (
        earlier.metric is later.metric
        and set(later.modes) <= set(earlier.modes)
        and earlier.least_tokens <= later.least_tokens
        and crosses_wherever(earlier.below, earlier.above, (later.below, later.above))
    )


def _silences(document: Document, earlier: Gate | Rule, later: Gate | Rule) -> bool:
    """Whether the earlier one, where it covers the later, leaves it nothing to decide."""
    if later.action is Action.ALLOW or earlier.action is later.action is Action.ANNOTATE:
        return False  # it is there to be on record
    if earlier.action is later.action and (earlier.approval, earlier.refine) != (later.approval, later.refine):
        return False
    missing = later.on_missing or document.on_missing
    answer = (earlier.on_missing or document.on_missing) if _measures(earlier) else earlier.action
    return earlier.action.rank >= later.action.rank and (not _measures(later) or answer.rank >= missing.rank)


def _measures(asked: Gate | Rule) -> bool:
    return isinstance(asked, Gate) or asked.when.metric is not None
