"""What one request asks of the budgets that concern it: which account each is, and how much it may take at most."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import policies
from gateway.budgets.consumption import NOTHING, Consumption
from gateway.law.clock import zone_of_database
from policies import Budget, Per, RequestFacts, Unit
from policies.verdicts import SHADOW


@dataclass(frozen=True, slots=True)
class Ask:
    """A share of one budget. `account` names whose; one that is `forced` is taken even where there is no room.

    What is `watched` is a shadow's: it has accounts of its own, so that nothing that acts ever runs short by it.
    """

    account: UUID
    budget: Budget
    scope: str
    zone: str
    needs: Decimal
    forced: bool
    watched: bool = False

    def told(self) -> dict[str, str | bool | None]:
        """As the database reads it; amounts are texts, so that no float comes between."""
        budget = self.budget
        return {
            "id": str(self.account),
            "budget": SHADOW + budget.id if self.watched else budget.id,
            "per": budget.per.value,
            # The server's texts hold no NUL. Accounts are told apart by their ids, so what is shown may be less exact.
            "scope": self.scope.encode("utf-8", "replace").decode().replace("\0", "\ufffd"),
            "unit": budget.unit.value,
            "span": None if budget.window is None else budget.window.value,
            "zone": zone_of_database(self.zone),
            "amount": budget.amount,
            "needs": str(self.needs),
            "forced": self.forced,
        }


def asks(policy: policies.Policy, facts: RequestFacts, decision: policies.Decision, most: Consumption) -> Iterator[Ask]:
    """One per budget of the decision; the law has already answered for those that are `exceeded`."""
    watched = policy.lifted is not None
    for budget in decision.budgets:
        scope = scope_of(budget.per, facts)
        yield Ask(
            account=account_of(facts.tenant, budget, scope, watched=watched),
            budget=budget,
            scope=scope,
            zone=policy.document.timezone,
            needs=most.of(budget.unit),
            forced=budget.id in facts.exceeded,
            watched=watched,
        )


def presence(policy: policies.Policy, facts: RequestFacts, decision: policies.Decision) -> Iterator[Ask]:
    """Those of them that count requests and not what is generated."""
    return (ask for ask in asks(policy, facts, decision, NOTHING) if ask.budget.unit in (Unit.REQUESTS, Unit.CONCURRENCY))


def scope_of(per: Per, facts: RequestFacts) -> str:
    """Whose consumption a budget adds up. Workflows are told apart as the law does, without regard to case."""
    return {Per.KEY: facts.caller, Per.TENANT: facts.tenant, Per.WORKFLOW: (facts.workflow or "").casefold()}[per]


def account_of(tenant: str, budget: Budget, scope: str, *, watched: bool = False) -> UUID:
    """The same for everybody who draws on it: a digest of tenant, budget, scope, unit and window.

    A document that gives a budget another amount goes on with its account; another unit or window opens a new one.
    """
    name = SHADOW + budget.id if watched else budget.id
    parts = (tenant, name, budget.per.value, budget.unit.value, str(budget.window), scope)
    digest = hashlib.sha256(b"palimpsest/budget\0" + b"\0".join(part.encode("utf-8", "surrogatepass") for part in parts))
    return UUID(bytes=digest.digest()[:16])
