"""Which policy was in force at each point of one log, by its own records, and whether each decision was made under such a one.

Before the first change the policy is the one that came with the gateway, which no record names; decisions made till then tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from audit.acts import PolicyChange
from audit.header import Header
from audit.records import PolicyDecision


@dataclass(frozen=True, slots=True)
class Enacted:
    """A policy change and its place in the log; `ts` in microseconds."""

    seq: int
    ts: int
    change: PolicyChange


@dataclass(frozen=True, slots=True)
class InForce:
    """The digest of the policy in force, and of the one that is tried beside it on a share of requests, if any."""

    seq: int
    digest: bytes
    candidate: bytes | None = None
    share: float | None = None


class Laws:
    """Policy changes and decisions, folded in order of seq."""

    def __init__(self) -> None:
        self.changes: list[Enacted] = []
        self.in_force: InForce | None = None
        """None before the first change, and after one that could not be read."""
        self._known: set[bytes] = set()
        self._unread = False

    def document(self, digest: bytes) -> str | None:
        """The text of a policy that some record put in force, None if none did."""
        return next((each.change.document for each in self.changes if each.change.after == digest), None)

    def enact(self, header: Header, change: PolicyChange) -> Iterator[str]:
        """Take in a change; yields what contradicts the changes before it."""
        now, before = self.in_force, change.before
        if now is not None and before != now.digest:
            yield f"it replaces policy {_short(before)}, while {_short(now.digest)} was in force"
        self._known |= {change.after} if before is None else {before, change.after}
        self.changes.append(Enacted(header.seq, header.ts, change))
        if change.share is None or before is None:
            self.in_force = InForce(header.seq, change.after)
        else:
            self.in_force = InForce(header.seq, before, change.after, change.share)

    def pass_over(self) -> None:
        """A change is not disclosed: nobody here can say what is in force from now on, and what ever was."""
        self.in_force, self._unread = None, True

    def judge(self, decision: PolicyDecision) -> Iterator[str]:
        """Take in a decision; yields a contradiction if no record had put its policy in force."""
        digest = decision.policy_digest
        if not self.changes:
            self._known.add(digest)
        elif digest not in self._known and self.changes[0].change.before is not None and not self._unread:
            yield f"it was decided under policy {_short(digest)}, which no record before it puts in force"


def _short(digest: bytes | None) -> str:
    return "none" if digest is None else f"{digest.hex()[:16]}..."
