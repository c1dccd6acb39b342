"""The closed policy document: one table of the tables that the other files of this room define.

A document is TOML with the shape of `Document`; a key not named here is refused with its place, and so is a default outside
its own range. Nothing is computed: thresholds are data, so they diff, replay and explain.

    schema = "palimpsest.policy/1"    tenant = "acme"    inherit = "baseline"
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from policies.approval import DEFAULT_APPROVAL, Approval
from policies.gates import Gate
from policies.limits import Budget, Limits
from policies.modes import Modes
from policies.prices import Prices
from policies.rules import Route, Rule
from policies.words import ENTRIES_MOST, Action, Closed, Enforcement, Glob, Id, Name, Release, Risk

SCHEMA = "palimpsest.policy/1"

_Few = Meta(max_length=ENTRIES_MOST)


class Document(Closed, frozen=True, kw_only=True):
    """A whole policy, inheritance already resolved. `tenant` is a name, or `*` for any.

    `overridable` names keys, dotted, at which a child may be looser. `on_missing` is demanded where a figure that a
    threshold names is missing; `risk_unsaid` is the risk of a request that states none. `timezone` is that of time windows
    and calendar months; the caller of the judge resolves it.
    """

    schema: Literal["palimpsest.policy/1"]
    tenant: Name
    inherit: Name | None = None
    overridable: Annotated[tuple[Glob, ...], _Few] = ()
    enforcement: Enforcement = Enforcement.ENFORCE
    release: Release = Release.STREAM
    on_missing: Action = Action.HOLD
    risk_unsaid: Risk = Risk.LOW
    timezone: Name = "UTC"
    modes: Modes
    limits: Limits = Limits()
    gates: Annotated[tuple[Gate, ...], _Few] = ()
    rules: Annotated[tuple[Rule, ...], _Few] = ()
    routes: Annotated[tuple[Route, ...], _Few] = ()
    approvals: Annotated[dict[Id, Approval], _Few] = msgspec.field(default_factory=dict)
    budgets: Annotated[tuple[Budget, ...], _Few] = ()
    prices: Prices = Prices()

    def approval(self, name: str) -> Approval:
        """The approval of that name; `default` exists always, and lets any approver decide."""
        return self.approvals.get(name, _ANY_APPROVER) if name == DEFAULT_APPROVAL else self.approvals[name]


_ANY_APPROVER = Approval()
