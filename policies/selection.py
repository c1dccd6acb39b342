"""Which mode a request is decoded in: what it asked for, what its route offers, and what its budgets leave."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from policies.compiled import BUDGET, ROUTE, Routed
from policies.facts import RequestFacts
from policies.limits import Budget, OnExceed
from policies.modes import Mode
from policies.obligations import Asked
from policies.policy import Policy
from policies.verdicts import Refusal, RefusalCode
from policies.words import Action, OnDisallowed

_SHOWN: Final = 64


def refusal(policy: Policy, code: RefusalCode, reason: str, rule: str) -> Refusal:
    """No, by one rule."""
    return Refusal(code, reason, policy.digest, (rule,))


def choose_mode(policy: Policy, facts: RequestFacts, route: Routed | None) -> tuple[Mode, str] | Refusal:
    """The mode to run and the rule that chose it."""
    modes = policy.document.modes
    default, rule, choices = modes.default, "modes.default", policy.compiled.choices
    if route is not None:
        default, rule, choices = route.route.modes[0], ROUTE + route.route.id, route.route.modes
    if facts.requested_mode is None:
        return default, rule
    permitted = choices if modes.client_may_choose else (default,)
    listed = ", ".join(mode.value for mode in permitted)
    try:
        asked = Mode(facts.requested_mode)
    except ValueError:
        reason = f"unknown mode {facts.requested_mode[:_SHOWN]!r}; permitted: {listed}"
        return refusal(policy, RefusalCode.MODE_UNKNOWN, reason, "modes")
    if asked in permitted:
        return asked, "modes.requested"
    against = _against(asked, policy.compiled.choices, choices, rule)
    if modes.on_disallowed is OnDisallowed.USE_DEFAULT:
        return default, f"{against}:default"
    reason = f"mode {asked.value!r} is not permitted for tenant {facts.tenant!r}; permitted: {listed}"
    return refusal(policy, RefusalCode.MODE_NOT_PERMITTED, reason, against)


def _against(asked: Mode, allowed: tuple[Mode, ...], offered: tuple[Mode, ...], rule: str) -> str:
    """What stands against a mode: the document, its route, or that no client may choose."""
    if asked not in allowed:
        return "modes.allowed"
    return rule if asked not in offered else "modes.client_may_choose"


def spend(policy: Policy, facts: RequestFacts, route: Routed | None, mode: Mode) -> tuple[Mode, list[Asked]] | Refusal:
    """The mode that the exceeded budgets leave, and what they demand; of several downgrades the first, a parent's, is taken."""
    asks: list[Asked] = []
    lowered: Mode | None = None
    if not facts.exceeded:
        return mode, asks
    budgets = tuple(each.budget for each in policy.compiled.budgets if each.concerns(facts))
    for budget in budgets:
        if budget.id not in facts.exceeded:
            continue
        lower = _downgraded(policy, route, budget)
        if budget.on_exceed is OnExceed.HOLD:
            asks.append((Action.HOLD, BUDGET + budget.id, budget.approval))
        elif lower is not None:
            lowered = lowered or lower
            asks.append((Action.ANNOTATE, BUDGET + budget.id, budget.approval))
        else:
            reason = f"budget {budget.id!r} ({budget.unit.value} per {budget.per.value}) has no room for this request"
            return replace(refusal(policy, RefusalCode.BUDGET_EXCEEDED, reason, BUDGET + budget.id), budgets=budgets)
    return lowered or mode, asks


def _downgraded(policy: Policy, route: Routed | None, budget: Budget) -> Mode | None:
    """The mode to go down to; None where the budget blocks, or where its mode is not one that this request may have."""
    offered = policy.compiled.choices if route is None else route.route.modes
    wanted = budget.on_exceed is OnExceed.DOWNGRADE_MODE and budget.downgrade_to in offered
    return budget.downgrade_to if wanted else None
