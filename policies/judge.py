"""The judge at admission: may this request run, how, and what will be asked of its text.

Pure: the same policy and the same facts give the same answer, always. A refusal is a value with a code and a sentence for the
client; a decision has effective values, the modes the engine may use at all, what the request can meet later, and the ids of
the rules that shaped it. Under `enforcement = "shadow"` nothing acts, and the rules that would have are listed as `shadow:...`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from policies.compiled import ROUTE, Routed
from policies.facts import UNCOUNTED, RequestFacts
from policies.modes import Mode
from policies.obligations import Asked, obligations
from policies.policy import Policy
from policies.selection import choose_mode, refusal, spend
from policies.standing import Standing
from policies.tuning import tune
from policies.verdicts import SHADOW, Decision, Refusal, RefusalCode, Verdict
from policies.words import ANY_TENANT, Action, Release, strictest

UNJUDGED: Final = "budgets.unjudged"
"""The label of a shadow's decision whose budgets nobody could count."""
_ACCEPTS: Final = frozenset({Verdict.ACCEPT})


def decide(policy: Policy, facts: RequestFacts) -> Decision | Refusal:
    """Judge one request under one policy."""
    verdict = _judge(policy, facts)
    return verdict if policy.lifted is None else _watched(policy, policy.lifted, facts, verdict)


def _judge(policy: Policy, facts: RequestFacts) -> Decision | Refusal:
    unfit = _scope(policy, facts)
    if unfit is not None:
        return unfit
    route = next((routed for routed in policy.compiled.routes if routed.concerns(facts)), None)
    chosen = choose_mode(policy, facts, route)
    if isinstance(chosen, Refusal):
        return chosen
    mode, mode_rule = chosen
    spent = spend(policy, facts, route, mode)
    if isinstance(spent, Refusal):
        return spent
    mode, asks = spent
    for admit in _concerning(policy.compiled.may_meet[mode].admits, facts):
        if admit.action is Action.BLOCK:
            reason = f"{admit.label} blocks this request: {admit.reason or 'ask an administrator what it permits'}"
            return refusal(policy, RefusalCode.BLOCKED, reason, admit.label)
        asks.append((admit.action, admit.label, admit.approval))
    return _granted(policy, facts, route, mode, mode_rule, asks)


def _scope(policy: Policy, facts: RequestFacts) -> Refusal | None:
    """Refuse what no mode could serve."""
    document = policy.document
    if document.tenant not in (ANY_TENANT, facts.tenant):
        reason = f"this policy is not for tenant {facts.tenant!r}; ask an administrator to assign one"
        return refusal(policy, RefusalCode.TENANT_MISMATCH, reason, "tenant")
    most = document.limits.max_prompt_tokens
    if facts.prompt_tokens > most:
        reason = f"the prompt has {facts.prompt_tokens} tokens; the policy permits {most}"
        return refusal(policy, RefusalCode.PROMPT_TOO_LONG, reason, "limits.max_prompt_tokens")
    if facts.threshold is not None and not math.isfinite(facts.threshold):
        return refusal(policy, RefusalCode.KNOB_INVALID, "threshold must be a finite number between 0 and 1", "threshold")
    return None


def _granted(
    policy: Policy, facts: RequestFacts, route: Routed | None, mode: Mode, mode_rule: str, asks: Sequence[Asked]
) -> Decision:
    """Permission, with effective values and what lies ahead."""
    document, compiled = policy.document, policy.compiled
    knobs = compiled.knobs if route is None else route.knobs
    tuned = tune(knobs[mode], document.limits, facts)
    blocks = _concerning(compiled.may_meet[mode].blocks, facts)
    releases = _concerning(compiled.may_meet[mode].releases, facts)
    action = strictest(asked for asked, _, _ in asks) if asks else Action.ALLOW
    stops = action.stops or any(each.may_stop for each in (*blocks, *releases))
    routed = () if route is None or mode_rule.startswith(ROUTE) else (ROUTE + route.route.id,)
    return Decision(
        mode=mode,
        modes_permitted=compiled.permitted,
        block_length=tuned.block_length,
        threshold=tuned.threshold,
        max_steps=tuned.max_steps,
        seed_first=tuned.seed_first,
        release=Release.WHOLE if stops else document.release,
        max_tokens=tuned.max_tokens,
        policy_digest=policy.digest,
        rules=(mode_rule, *routed, *tuned.rules, *(label for _, label, _ in asks)),
        action=action,
        obligations=obligations(document, asks) if asks else (),
        budgets=tuple([each.budget for each in compiled.budgets if each.concerns(facts)]),
        block_rules=tuple([each.label for each in blocks]),
        release_rules=tuple([each.label for each in releases]),
        verdicts=_verdicts(blocks, releases),
    )


def _concerning(standing: Sequence[Standing], facts: RequestFacts) -> list[Standing]:
    return [each for each in standing if not each.request or each.concerns(facts)]


def _verdicts(blocks: Sequence[Standing], releases: Sequence[Standing]) -> frozenset[Verdict]:
    """All that can be ruled of a unit; a gate is needed too where a rule about answers asks for a figure of its units."""
    if blocks:
        return _ACCEPTS.union(*[each.verdicts for each in blocks])
    return _ACCEPTS if any(each.threshold is not None for each in releases) else frozenset()


def _watched(policy: Policy, lifted: Policy, facts: RequestFacts, verdict: Decision | Refusal) -> Decision | Refusal:
    """What runs while the document is a shadow: unrestricted, and watched by the rules that would have applied.

    It draws on the budgets that it would have drawn on; one that would have been refused, on none.
    """
    acted = _judge(lifted, facts)
    labels = (*verdict.rules, UNJUDGED) if UNCOUNTED in facts.exceeded else verdict.rules
    rules = (*acted.rules, *(SHADOW + rule for rule in labels))
    if isinstance(acted, Refusal):
        return replace(acted, rules=rules)
    meeting = policy.compiled.watched[acted.mode]
    blocks, releases = _concerning(meeting.blocks, facts), _concerning(meeting.releases, facts)
    return replace(
        acted,
        rules=rules,
        budgets=() if isinstance(verdict, Refusal) else verdict.budgets,
        block_rules=tuple(each.label for each in blocks),
        release_rules=tuple(each.label for each in releases),
        verdicts=_ACCEPTS if blocks else _verdicts((), releases),
    )
