"""The policies that a log names, and the law that a recorded request was under, so that either can be asked again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import policies
from audit.laws import Laws
from audit.records import Body, PolicyDecision, RequestOpen
from gateway.law.hearing import Law
from gateway.law.record import facts_of


def known_policies(laws: Laws, shipped: policies.Policy) -> dict[bytes, policies.Policy]:
    """By digest, every policy that was ever in force and that this release can read; `shipped` is one of them."""
    known = {bytes(shipped.digest): shipped}
    for each in laws.changes:
        digest = each.change.after
        try:
            known[digest] = policies.restored(digest.hex()[:16], each.change.document)
        except policies.PolicyError:
            continue  # of another release: what it judged cannot be judged again here
    return known


def in_force(tenant: str, laws: Laws, shipped: policies.Policy) -> policies.Policy:
    """The policy in force by the log, `shipped` before the first change. Raises PolicyError for one of another release."""
    text = None if laws.in_force is None else laws.document(laws.in_force.digest)
    return shipped if text is None else policies.restored(tenant, text)


def law_of(tenant: str, bodies: Iterable[Body], known: Mapping[bytes, policies.Policy]) -> Law | None:
    """The law that a recorded request was admitted under; None where its records, or `known`, do not say."""
    told = list(bodies)
    opening = next((body for body in told if isinstance(body, RequestOpen)), None)
    decision = next((body for body in told if isinstance(body, PolicyDecision)), None)
    if opening is None or decision is None or decision.facts is None or decision.policy_digest not in known:
        return None
    policy = known[decision.policy_digest]
    verdict = policies.decide(policy, facts_of(tenant, opening.caller, decision.facts))
    return Law(policy, verdict) if isinstance(verdict, policies.Decision) else None
