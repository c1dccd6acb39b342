"""Which policy judges a request: the tenant's own, the one on trial for a share of requests, or the one that is shipped.

Replaced whole, entry by entry: whoever asks gets one policy and keeps it, so a generation ends under the law that admitted it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import policies
from gateway.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Standing:
    """The policies of one tenant: the one in force, and the one that `share` of its requests are judged under, if any."""

    active: policies.Policy
    candidate: policies.Policy | None = None
    share: float = 0.0

    def policy_for(self, request: UUID) -> policies.Policy:
        """By a hash of the request's id: the same request always meets the same policy."""
        return self.active if self.candidate is None or _place(request) >= self.share else self.candidate


@dataclass(frozen=True, slots=True)
class Unread:
    """A tenant whose policy is known to exist and cannot be read; nothing is judged under a guess."""

    reason: str


Entry = Standing | Unread


class Lawbook:
    """The policies of all tenants, as this process knows them. Belongs to the event loop."""

    def __init__(self, shipped: policies.Policy) -> None:
        """`shipped` judges the requests of tenants that have no policy of their own."""
        self.shipped = shipped
        self._entries: Mapping[str, Entry] = {}

    def policy_for(self, tenant: str, request: UUID) -> policies.Policy:
        """The policy that judges this request, to its end. Raises Unavailable where the tenant's cannot be read."""
        entry = self._entries.get(tenant)
        if entry is None:
            return self.shipped
        if isinstance(entry, Unread):
            raise Unavailable("the policy of this tenant cannot be read; tell an administrator", code="policy_unavailable")
        return entry.policy_for(request)

    def active(self, tenant: str) -> policies.Policy:
        """The policy in force, whatever is on trial; the shipped one where the tenant's cannot be read."""
        entry = self._entries.get(tenant)
        return entry.active if isinstance(entry, Standing) else self.shipped

    def policy_of(self, tenant: str, request: UUID, digest: bytes) -> policies.Policy:
        """The policy that a request's answer is held under: the one of this digest while it is in force or on trial.

        Else the one that would judge the request now. Raises Unavailable where that cannot be read.
        """
        entry = self._entries.get(tenant)
        known = (entry.active, entry.candidate) if isinstance(entry, Standing) else ()
        return next((each for each in known if each is not None and each.digest == digest), self.policy_for(tenant, request))

    def on_trial(self, tenant: str) -> bool:
        """Whether a share of this tenant's requests is judged by another policy than the others."""
        entry = self._entries.get(tenant)
        return isinstance(entry, Standing) and entry.candidate is not None

    def entry(self, tenant: str) -> Entry | None:
        """What is known of a tenant; None for one without a policy of its own."""
        return self._entries.get(tenant)

    def replace(self, entries: Mapping[str, Entry]) -> None:
        """From now on, these."""
        self._entries = dict(entries)


def _place(request: UUID) -> float:
    """Where in 0..1 a request falls; nobody can choose it but by choosing the id."""
    return int.from_bytes(hashlib.sha256(request.bytes).digest()[:8], "big") / 2**64
