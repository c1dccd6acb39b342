"""What the administrative acts of one log add up to: which holds stand, what was erased or retired, which policy is in force.

Fed in order of seq by the verifier, which reports what contradicts an earlier act, and by whoever acts, who asks first.
The log is the only memory of these facts: nothing here is kept anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from audit.acts import Anchored, Erasure, HoldPlaced, HoldReleased, PolicyChange, RetentionRule, Retirement, commit_to
from audit.header import Header
from audit.laws import Laws
from audit.records import Body, Kind, PolicyDecision

DAY = 86_400_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold that stands, on one subject or, with None, on the whole tenant."""

    hold: UUID
    seq: int
    subject: str | None
    reason: str

    def covers(self, subject: str) -> bool:
        """Whether nothing of this subject may be erased."""
        return self.subject is None or self.subject == subject


@dataclass(frozen=True, slots=True)
class Rule:
    """The retention in force: `days` bodies are kept, None for ever, and the record that says so."""

    seq: int
    days: int | None


@dataclass(frozen=True, slots=True)
class Retired:
    """Bodies of records `first` to `last` were older than `before` and are removed by record `seq`."""

    seq: int
    first: int
    last: int
    before: int


KINDS: Final = frozenset(
    (Kind.POLICY_CHANGE, Kind.ERASURE, Kind.HOLD_PLACED, Kind.HOLD_RELEASED, Kind.RETENTION_RULE, Kind.RETIREMENT)
)
"""Kinds of acts that change what stands; the many that say who read what do not."""


class Standing:
    """The acts of one tenant, folded."""

    def __init__(self) -> None:
        self.holds: dict[UUID, Hold] = {}
        self.erased: dict[str, int] = {}
        """Key id to the seq of the erasure that destroyed it."""
        self.retired: list[Retired] = []
        self.sealed_retirement = -1
        """The seq of the newest retirement that could not be read: what it removed nobody here can say."""
        self.rule: Rule | None = None
        self.laws = Laws()
        self._trees: dict[str, Anchored] = {}
        """The newest tree of each log that was anchored in this one."""

    def add(self, header: Header, body: Body | None) -> Iterator[str]:
        """Take in the next record; yields what the acts before it forbid. Most records and unread bodies pass."""
        match body:
            case Erasure():
                yield from self._erase(header.seq, body)
            case HoldPlaced():
                yield from self._place(header.seq, body)
            case HoldReleased():
                yield from self._release(body)
            case RetentionRule():
                self.rule = Rule(header.seq, body.days)
            case Retirement():
                yield from self._retire(header, body)
            case PolicyChange():
                yield from self.laws.enact(header, body)
            case Anchored():
                yield from self._anchor(body)
            case PolicyDecision():
                yield from self.laws.judge(body)
            case None if header.kind == Kind.POLICY_CHANGE:
                self.laws.pass_over()
            case None if header.kind == Kind.RETIREMENT:
                self.sealed_retirement = header.seq
        requester = getattr(body, "requested_by", header.actor)
        if requester != header.actor:
            yield f"it was requested by {requester!r} and recorded by {header.actor!r}"

    def holds_on(self, subject: str) -> list[Hold]:
        """The holds that forbid an erasure of the subject, oldest first."""
        return [hold for hold in self.holds.values() if hold.covers(subject)]

    def next_retired(self) -> int:
        """The first seq that no retirement has reached."""
        return max((each.last + 1 for each in self.retired), default=0)

    def _erase(self, seq: int, act: Erasure) -> Iterator[str]:
        for hold in self.holds.values():
            if hold.subject is None or commit_to(hold.subject, act.salt) == act.subject:
                yield f"it erases under the hold of record {hold.seq}"
        for key_id in act.key_ids:
            self.erased.setdefault(key_id, seq)

    def _place(self, seq: int, act: HoldPlaced) -> Iterator[str]:
        if act.hold in self.holds:
            yield f"it places hold {act.hold}, which stands already"
        self.holds[act.hold] = Hold(act.hold, seq, act.subject, act.reason)

    def _release(self, act: HoldReleased) -> Iterator[str]:
        if self.holds.pop(act.hold, None) is None:
            yield f"it releases hold {act.hold}, which does not stand"

    def _anchor(self, tree: Anchored) -> Iterator[str]:
        before = self._trees.get(tree.origin)
        if before is not None and tree.size < before.size:
            yield f"it gives log {tree.origin!r} {tree.size} records, which had {before.size} before"
        elif before is not None and tree.size == before.size and tree.root != before.root:
            yield f"it gives the first {tree.size} records of log {tree.origin!r} another root than before"
        self._trees[tree.origin] = tree

    def _retire(self, header: Header, act: Retirement) -> Iterator[str]:
        for hold in self.holds.values():
            yield f"it retires under the hold of record {hold.seq}"
        rule = self.rule
        if rule is None or rule.days is None or rule.seq != act.rule:
            yield f"it names record {act.rule} as its rule, which is not the retention in force"
        elif act.before > header.ts - rule.days * DAY:
            yield f"it retires what is younger than the {rule.days} days of its rule"
        if act.last >= header.seq:
            yield "it retires records that are not before it"
        self.retired.append(Retired(header.seq, act.first, act.last, act.before))
