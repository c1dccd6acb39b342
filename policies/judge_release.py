"""The judge of a whole answer: may it leave by itself, must a person agree, or does it never leave."""

from __future__ import annotations

from collections.abc import Iterator

from policies.approval import DEFAULT_APPROVAL
from policies.facts import AnswerFacts
from policies.obligations import Asked, joined, obligations
from policies.policy import Policy
from policies.standing import MISSING
from policies.verdicts import OTHER_POLICY, SHADOW, Decision, ReleaseRuling
from policies.words import Action, strictest


def judge_release(policy: Policy, decision: Decision, facts: AnswerFacts) -> ReleaseRuling:
    """Rule on a finished answer: what was decided at admission, what its units met, and the rules about answers.

    The strictest of all wins. A hold has an obligation for every approval that any hold among them names. An answer that was
    permitted under another policy than this is held.
    """
    if decision.policy_digest != policy.digest:
        asked: Asked = (Action.HOLD, OTHER_POLICY, DEFAULT_APPROVAL)
        return ReleaseRuling(Action.HOLD, obligations(policy.document, [asked]), (OTHER_POLICY,))
    asks = [*_units(policy, facts), *_answer(policy, decision, facts)]
    verdict = strictest((decision.action, *(action for action, _, _ in asks)))
    rules = tuple(dict.fromkeys(label for _, label, _ in asks))
    if policy.lifted is not None:
        return ReleaseRuling(Action.ALLOW, (), tuple(SHADOW + rule for rule in rules))
    if verdict is not Action.HOLD:
        return ReleaseRuling(verdict, (), rules)
    return ReleaseRuling(verdict, joined(decision.obligations, obligations(policy.document, asks)), rules)


def _units(policy: Policy, facts: AnswerFacts) -> Iterator[Asked]:
    for action, labels in ((Action.BLOCK, facts.blocked_by), (Action.HOLD, facts.held_by)):
        for label in labels:
            standing = policy.compiled.blocks.get(label.removeprefix(MISSING))
            yield action, label, DEFAULT_APPROVAL if standing is None else standing.approval


def _answer(policy: Policy, decision: Decision, facts: AnswerFacts) -> Iterator[Asked]:
    for name in decision.release_rules:
        standing = policy.compiled.releases[name]
        demand = standing.of_answer(facts)
        if demand is not None:
            yield *demand, standing.approval
