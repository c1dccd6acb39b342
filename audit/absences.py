"""Content that a bundle no longer holds, and the record that says why: bodies retired, keys erased.

Acts come after what they remove, so absences are gathered while a log is read and explained at its end. Memory grows with
gaps, with the minutes in which what they lack was recorded, and with keys, not with records. Time grows with gaps and with
retirements, not with the one times the other: only the first gaps name the records that explain them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from audit.header import Header
from audit.records import Kind
from audit.standing import Retired, Standing

_MINUTE: Final = 60_000_000
"""Microseconds."""
_ACTS: Final = 40
"""The first kind of administrative acts."""
_NAMED: Final = 50
"""Gaps of which it is told by name which records explain them."""


class Gap:
    """Consecutive records without a body: the header of the first, and the seq and time of the last and of one each minute."""

    __slots__ = ("_seqs", "_times", "header", "last", "ts")

    def __init__(self, header: Header) -> None:
        self.header = header
        self._seqs, self._times = array("q"), array("q")
        self.add(header)

    def add(self, header: Header) -> None:
        """The next record has no body."""
        self.last, self.ts = header.seq, header.ts
        if not self._times or header.ts - self._times[-1] >= _MINUTE:
            self._seqs.append(header.seq)
            self._times.append(header.ts)

    def since(self, seq: int) -> int:
        """When what lies in the gap up to `seq` was all recorded: exact at the gap's end, else up to a minute too early.

        Too early, never too late: so a retirement that kept to its rule is never called premature.
        """
        return self.ts if seq >= self.last else self._times[bisect_right(self._seqs, seq) - 1]


@dataclass(slots=True)
class Unreadable:
    """Records whose content is gone, under one key: the header of the first, and how many."""

    header: Header
    count: int = 0


@dataclass(frozen=True, slots=True)
class Explained:
    """What is to be said of an absence that starts at record `header`; `lawful` unless an act claims more than it may."""

    header: Header
    message: str
    lawful: bool = True


class Absences:
    """All absences of one log, fed in order of seq."""

    def __init__(self) -> None:
        self._gaps: list[Gap] = []
        self._lent: list[Gap] = []
        """Delegations, which last: each by itself."""
        self._unreadable: dict[str, Unreadable] = {}
        self._acts: dict[str, Unreadable] = {}
        """By key like the others, and never explained: neither a retirement nor an erasure reaches an act."""

    def no_body(self, header: Header) -> None:
        """A record has no body here."""
        if header.kind >= _ACTS:
            self._acts.setdefault(header.key_id, Unreadable(header)).count += 1
            return
        if header.kind == Kind.DELEGATION:
            self._lent.append(Gap(header))
            return
        newest = self._gaps[-1] if self._gaps else None
        if newest is not None and header.seq == newest.last + 1:
            newest.add(header)
        else:
            self._gaps.append(Gap(header))

    def no_key(self, header: Header) -> None:
        """A record's key was asked for and no longer exists."""
        gone = self._acts if header.kind >= _ACTS else self._unreadable
        gone.setdefault(header.key_id, Unreadable(header)).count += 1

    def explain(self, standing: Standing) -> Iterator[Explained]:
        """One line for every gap and every key, in the order of their first records; and acts before all else."""
        for act in self._acts.values():
            never = "the body of an act is never retired, nor its key erased"
            yield Explained(act.header, f"{_content(act)} is gone: {never}", lawful=False)
        cover = _Cover(standing.retired)
        for number, gap in enumerate(self._gaps):
            yield from _explain_gap(gap, cover, number < _NAMED)
        yield from self._explain_lent(_Cover(standing.retired), standing.sealed_retirement)
        for key_id, lost in self._unreadable.items():
            many = _content(lost)
            if key_id in standing.erased:
                yield Explained(lost.header, f"{many} was erased by record {standing.erased[key_id]}")
            else:
                yield Explained(lost.header, f"{many} is lost: its key was asked for and no longer exists")

    def _explain_lent(self, cover: _Cover, sealed: int) -> Iterator[Explained]:
        """Earlier releases retired delegations too; what no retirement covers, and none that is sealed can, nothing permits."""
        for number, gap in enumerate(self._lent):
            if cover.first_unclaimed(gap) is None or gap.last < sealed:
                yield from _explain_gap(gap, cover, number < _NAMED)
            else:
                yield Explained(gap.header, "its body is gone: that of a delegation is never retired", lawful=False)


class _Cover:
    """What the retirements of a log say of its gaps, which are asked for in order of seq."""

    def __init__(self, retired: Sequence[Retired]) -> None:
        self.all = retired
        self._by_first = sorted(retired, key=lambda each: each.first)
        self._by_last = sorted(retired, key=lambda each: each.last)
        self._claimed = _merged(self._by_first)
        self._begun = self._ended = 0
        self._under_way: list[tuple[int, int]] = []
        """Of those that began no later than the gap: before and last, the least before on top."""

    def first_unclaimed(self, gap: Gap) -> int | None:
        """The first seq of the gap that no retirement covers."""
        place = bisect_right(self._claimed, gap.header.seq, key=lambda claimed: claimed[0]) - 1
        after = max(gap.header.seq, self._claimed[place][1] + 1) if place >= 0 else gap.header.seq
        return after if after <= gap.last else None

    def is_premature(self, gap: Gap) -> bool:
        """Whether a retirement reaches into the gap that was not old enough for it, whatever others cover."""
        while self._begun < len(self.all) and self._by_first[self._begun].first <= gap.last:
            begun = self._by_first[self._begun]
            heappush(self._under_way, (begun.before, begun.last))
            self._begun += 1
        while self._under_way and self._under_way[0][1] < gap.last:  # it ends in this gap, which is seen below, or before it
            heappop(self._under_way)
        early = bool(self._under_way) and self._under_way[0][0] <= gap.ts
        while self._ended < len(self.all) and self._by_last[self._ended].last < gap.last:
            ended = self._by_last[self._ended]
            early |= ended.last >= gap.header.seq and gap.since(ended.last) >= ended.before
            self._ended += 1
        return early


def _merged(by_first: Sequence[Retired]) -> list[tuple[int, int]]:
    """First and last seq of each stretch without a hole that retirements cover together, in order."""
    stretches: list[tuple[int, int]] = []
    for each in by_first:
        if stretches and each.first <= stretches[-1][1] + 1:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], each.last))
        else:
            stretches.append((each.first, each.last))
    return stretches


def _content(gone: Unreadable) -> str:
    return f"its content, like that of {gone.count - 1} further records," if gone.count > 1 else "its content"


def _explain_gap(gap: Gap, cover: _Cover, named: bool) -> Iterator[Explained]:
    alone, unclaimed, premature = gap.last == gap.header.seq, cover.first_unclaimed(gap), cover.is_premature(gap)
    many, were = ("its body", "was") if alone else (f"its body and those up to seq {gap.last}", "were")
    by = [each for each in cover.all if each.first <= gap.last and gap.header.seq <= each.last] if named else []
    if premature:
        early = [each for each in by if gap.since(each.last) >= each.before]
        some = "some of " if early and _Cover(early).first_unclaimed(gap) is not None else ""
        young = f"although {'it was' if alone else 'they were'} not old enough"
        yield Explained(gap.header, f"{some}{many} {were} retired{_named(early)} {young}", lawful=False)
    if unclaimed is not None:
        yield Explained(gap.header, f"{many} {'is missing' if alone else f'are missing; no retirement covers seq {unclaimed}'}")
    elif not premature:
        yield Explained(gap.header, f"{many} {were} retired{_named(by)}")


def _named(retired: list[Retired]) -> str:
    if not retired:
        return ""
    more = f" and {len(retired) - 3} more" if len(retired) > 3 else ""
    return f" by record {', '.join(str(each.seq) for each in retired[:3])}{more}"
