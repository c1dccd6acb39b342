"""Which administrative acts concern given requests: whoever is shown these may read what was done to and with them.

Retention, legal holds on the whole tenant and exports concern everybody. Acts about other subjects stay sealed, names included.
What is chosen always makes sense by itself: with a release comes its hold, with a retirement every rule.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from audit.acts import (
    Access,
    Erasure,
    ErasureRefused,
    Export,
    HoldPlaced,
    HoldReleased,
    KeyChange,
    PasskeyChange,
    PolicyChange,
    RetentionRule,
    Retirement,
    commit_to,
)
from audit.approvals import Delegation
from audit.errors import AuditError
from audit.header import Header, StoredRecord, decode_header
from audit.keys import KeyStore
from audit.records import Body
from audit.sealer import open_body


@dataclass(frozen=True, slots=True)
class Reach:
    """What the records of the requests name, and so what an act must name to concern them."""

    requests: frozenset[UUID]
    seqs: tuple[int, ...]
    """Ascending."""
    actors: frozenset[str]
    key_ids: frozenset[str]
    policies: frozenset[bytes]

    @classmethod
    def of(cls, headers: Iterable[Header]) -> Reach:
        """The reach of records, of which each belongs to one of the requests."""
        found = list(headers)
        return cls(
            requests=frozenset(header.scope for header in found),
            seqs=tuple(sorted(header.seq for header in found)),
            actors=frozenset(header.actor for header in found),
            key_ids=frozenset(header.key_id for header in found),
            policies=frozenset(header.policy for header in found if header.policy is not None),
        )

    def has_between(self, first: int, last: int) -> bool:
        """Whether one of the records lies from `first` to `last`."""
        place = bisect_left(self.seqs, first)
        return place < len(self.seqs) and self.seqs[place] <= last

    def is_named_by(self, act: Body) -> bool:
        """Whether the act alone shows that it concerns one of the requests."""
        match act:
            case Erasure():
                return not self.key_ids.isdisjoint(act.key_ids)
            case ErasureRefused():
                return any(commit_to(actor, act.salt) == act.subject for actor in self.actors)
            case HoldPlaced():
                return act.subject is None or act.subject in self.actors
            case Retirement():
                return self.has_between(act.first, act.last)
            case Access():
                return act.request in self.requests or (act.request is None and self.has_between(act.first, act.last))
            case Export():
                return bool(self.seqs) and act.size > self.seqs[0]
            case PolicyChange():
                return act.after in self.policies
            case Delegation():
                return act.to in self.actors
            case PasskeyChange():
                return act.name in self.actors
            case KeyChange():
                return act.purpose != "caller" or act.key in self.actors
            case _:
                return isinstance(act, RetentionRule)


def acts_concerning(reach: Reach, acts: Iterable[StoredRecord], keys: KeyStore) -> frozenset[UUID]:
    """The record ids of the acts, given in order of seq, that concern the requests; one that cannot be read stays sealed."""
    chosen, holds = set[UUID](), set[UUID]()
    for header, act in _readable(acts, keys):
        if reach.is_named_by(act) or (isinstance(act, HoldReleased) and act.hold in holds):
            chosen.add(header.record)
            if isinstance(act, HoldPlaced):
                holds.add(act.hold)
    return frozenset(chosen)


def _readable(acts: Iterable[StoredRecord], keys: KeyStore) -> Iterator[tuple[Header, Body]]:
    for stored in acts:
        try:
            header = decode_header(stored.header)
            if stored.body is not None:
                yield header, open_body(keys, header, stored.body)
        except AuditError:
            continue  # an export judges nothing; the verifier names what is damaged
