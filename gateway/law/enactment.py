"""A policy takes force: agreed on by two people, recorded in the tenant's log, and only then given to the gateways.

The record is the act. A process that dies after it leaves the tables as they were; the next act or start, of whatever process,
begins by making them say what the log says.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

import policies
from audit.acts import PolicyChange
from audit.laws import InForce, Laws
from audit.lifecycle import ActRefused, Lifecycle, Warrant
from gateway.law.shelf import Shelf
from policies.words import ANY_TENANT


@dataclass(frozen=True, slots=True)
class InEffect:
    """A change that was made: its record, and what is in force by it."""

    seq: int
    now: InForce


class Enactment:
    """Changes of policy on the logs of one installation. Belongs to the writer's event loop."""

    def __init__(self, lifecycle: Lifecycle, shelf: Shelf, shipped: policies.Policy) -> None:
        """`shipped` is in force for a tenant whose log has no change yet."""
        self._lifecycle, self._shelf, self._shipped = lifecycle, shelf, shipped

    async def apply(self, tenant: str, policy: policies.Policy, warrant: Warrant, share: float | None = None) -> InEffect:
        """Put a policy in force, or on trial for a share of requests.

        Raises ActRefused, or PolicyError for one that is too long or that its own text would not give back.
        """
        named = policy.document.tenant
        if named not in (ANY_TENANT, tenant):
            raise ActRefused(f"this policy is for tenant {named!r}, not for {tenant!r}")
        text = policies.written(policy)
        policies.restored(tenant, text)  # what is recorded cannot be taken back, and every gateway must be able to read it
        async with self._lifecycle.acting(tenant) as standing:
            _require_change(standing.laws.in_force, bytes(policy.digest), share)
            return await self._record(tenant, standing.laws, text, warrant, share)

    async def rollback(self, tenant: str, warrant: Warrant, to: str = "", since: int | None = None) -> InEffect:
        """End a trial; else go back to the policy before, or to the one whose digest begins with `to`. Raises ActRefused.

        `since` is the record that put in force what the people looked at: asked for twice, the second would undo the first.
        """
        async with self._lifecycle.acting(tenant) as standing:
            laws = standing.laws
            if laws.in_force is None:
                raise ActRefused(f"tenant {tenant!r} has no policy of its own: nothing to go back from")
            if since not in (None, laws.in_force.seq):
                raise ActRefused(f"another policy took force with record {laws.in_force.seq} since you looked: look again")
            text = self._text(laws, _target(laws, to))
            policies.restored(tenant, text)
            return await self._record(tenant, laws, text, warrant, None)

    async def finish(self, tenant: str) -> None:
        """Do what recorded acts say and a process that died left undone."""
        async with self._lifecycle.acting(tenant) as standing:
            await asyncio.to_thread(self._shelf.project, tenant, standing.laws)

    def known(self, tenant: str, digest: bytes) -> policies.Policy | None:
        """The policy of this digest, if it is or was in force and this release can read it. Blocking."""
        if digest == bytes(self._shipped.digest):
            return self._shipped
        text = self._shelf.text(tenant, digest)
        try:
            return policies.restored(digest.hex()[:16], text) if text else None
        except policies.PolicyError:
            return None  # of another release

    async def laws(self, tenant: str) -> Laws:
        """The policy changes of a tenant."""
        return (await self._lifecycle.standing(tenant)).laws

    async def _record(self, tenant: str, laws: Laws, text: str, warrant: Warrant, share: float | None) -> InEffect:
        """Record the change, then have the tables say it; the caller holds the turn."""
        after = hashlib.sha256(text.encode()).digest()
        people = (warrant.reason, warrant.requested_by, warrant.approved_by)
        change = PolicyChange(self._before(laws), after, text, *people, share)
        seq = await self._lifecycle.record(tenant, change)
        now = (await self._lifecycle.standing(tenant)).laws
        await asyncio.to_thread(self._shelf.project, tenant, now)
        return InEffect(seq, now.in_force or InForce(seq, after))

    def _before(self, laws: Laws) -> bytes:
        return bytes(self._shipped.digest) if laws.in_force is None else laws.in_force.digest

    def _text(self, laws: Laws, digest: bytes) -> str:
        if digest == bytes(self._shipped.digest):
            return policies.written(self._shipped)
        text = laws.document(digest)
        if text is None:
            raise ActRefused(
                f"policy {digest.hex()[:16]}... came with another release and is on no record: apply a file instead"
            )
        return text


def _require_change(now: InForce | None, digest: bytes, share: float | None) -> None:
    if now is None:
        if share is not None:
            raise ActRefused("a policy is tried beside one that the tenant has: apply one without a share first")
    elif share is not None and digest == now.digest:
        raise ActRefused("this policy is in force already: there is nothing to try")
    elif (digest, share) == ((now.digest, None) if now.candidate is None else (now.candidate, now.share)):
        raise ActRefused(f"policy {digest.hex()[:16]}... stands so already: nothing would change")


def _target(laws: Laws, to: str) -> bytes:
    """Where to go back to: the one in force beside a trial, else the one that the last change of force replaced."""
    if to:
        found = {each.change.after for each in laws.changes if each.change.after.hex().startswith(to.lower())}
        if len(found) != 1:
            raise ActRefused(
                f"{len(found)} recorded policies have a digest that begins with {to!r}: see `palimpsest policy history`"
            )
        return found.pop()
    if laws.in_force is not None and laws.in_force.candidate is not None:
        return laws.in_force.digest
    enacted = [each.change for each in laws.changes if each.change.share is None and each.change.before != each.change.after]
    before = enacted[-1].before if enacted else None
    if before is None:
        raise ActRefused("no earlier policy is on record: apply a file instead")
    return before
