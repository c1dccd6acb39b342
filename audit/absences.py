"""Content that a bundle no longer holds, and the record that says why: bodies retired, keys erased.

Acts come after what they remove, so absences are gathered while a log is read and explained at its end. Memory grows with
gaps, with the minutes in which what they lack was recorded, and with keys, not with records.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from audit.header import Header
from audit.standing import Retired, Standing

_MINUTE: Final = 60_000_000
"""Microseconds."""
_ACTS: Final = 40
"""The first kind of administrative acts."""


@dataclass(slots=True)
class Gap:
    """Consecutive records without a body: the header of the first, and the seq and time of the last and of one each minute."""

    header: Header
    last: int
    ts: int
    _seqs: array[int] = field(default_factory=lambda: array("q"))
    _times: array[int] = field(default_factory=lambda: array("q"))

    @classmethod
    def at(cls, header: Header) -> Gap:
        """A gap of one record."""
        gap = cls(header, header.seq, header.ts)
        gap.add(header)
        return gap

    def add(self, header: Header) -> None:
        """The next record has no body either."""
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
        self._unreadable: dict[str, Unreadable] = {}
        self._acts: dict[str, Unreadable] = {}
        """By key like the others, and never explained: neither a retirement nor an erasure reaches an act."""

    def no_body(self, header: Header) -> None:
        """A record has no body here."""
        if header.kind >= _ACTS:
            self._acts.setdefault(header.key_id, Unreadable(header)).count += 1
            return
        newest = self._gaps[-1] if self._gaps else None
        if newest is not None and header.seq == newest.last + 1:
            newest.add(header)
        else:
            self._gaps.append(Gap.at(header))

    def no_key(self, header: Header) -> None:
        """A record's key was asked for and no longer exists."""
        gone = self._acts if header.kind >= _ACTS else self._unreadable
        gone.setdefault(header.key_id, Unreadable(header)).count += 1

    def explain(self, standing: Standing) -> Iterator[Explained]:
        """One line for every gap and every key, in the order of their first records; and acts before all else."""
        for act in self._acts.values():
            never = "the body of an act is never retired, nor its key erased"
            yield Explained(act.header, f"{_content(act)} is gone: {never}", lawful=False)
        for gap in self._gaps:
            yield from _explain_gap(gap, standing.retired)
        for key_id, lost in self._unreadable.items():
            many = _content(lost)
            if key_id in standing.erased:
                yield Explained(lost.header, f"{many} was erased by record {standing.erased[key_id]}")
            else:
                yield Explained(lost.header, f"{many} is lost: its key was asked for and no longer exists")


def _content(gone: Unreadable) -> str:
    return f"its content, like that of {gone.count - 1} further records," if gone.count > 1 else "its content"


def _explain_gap(gap: Gap, retired: list[Retired]) -> Iterator[Explained]:
    first, alone = gap.header.seq, gap.last == gap.header.seq
    many, were = ("its body", "was") if alone else (f"its body and those up to seq {gap.last}", "were")
    cover = [each for each in retired if each.first <= gap.last and first <= each.last]
    early = [each for each in cover if gap.since(each.last) >= each.before]
    if early:
        some = "" if _first_unclaimed(first, gap.last, early) is None else "some of "
        young = f"although {'it was' if alone else 'they were'} not old enough"
        yield Explained(gap.header, f"{some}{many} {were} retired by record {_named(early)} {young}", lawful=False)
    unclaimed = _first_unclaimed(first, gap.last, cover)
    if unclaimed is not None:
        yield Explained(gap.header, f"{many} {'is missing' if alone else f'are missing; no retirement covers seq {unclaimed}'}")
    elif not early:
        yield Explained(gap.header, f"{many} {were} retired by record {_named(cover)}")


def _named(retired: list[Retired]) -> str:
    return ", ".join(str(each.seq) for each in retired)


def _first_unclaimed(first: int, last: int, cover: list[Retired]) -> int | None:
    """The first seq of a gap that no retirement covers."""
    for each in sorted(cover, key=lambda retired: retired.first):
        if each.first > first:
            return first
        first = max(first, each.last + 1)
    return first if first <= last else None
