"""Content that a bundle no longer holds, and the record that says why: bodies retired, keys erased.

Acts come after what they remove, so absences are gathered while a log is read and explained at its end. Memory grows with
gaps and keys, not with records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from audit.header import Header
from audit.standing import Retired, Standing


@dataclass(slots=True)
class Gap:
    """Consecutive records without a body: the header of the first, and the seq and time of the last."""

    header: Header
    last: int
    ts: int


@dataclass(slots=True)
class Unreadable:
    """Records whose key was asked for and no longer exists: the header of the first, and how many."""

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

    def no_body(self, header: Header) -> None:
        """A record has no body here."""
        newest = self._gaps[-1] if self._gaps else None
        if newest is not None and header.seq == newest.last + 1:
            newest.last, newest.ts = header.seq, header.ts
        else:
            self._gaps.append(Gap(header, header.seq, header.ts))

    def no_key(self, header: Header) -> None:
        """A record's key was asked for and no longer exists."""
        self._unreadable.setdefault(header.key_id, Unreadable(header)).count += 1

    def explain(self, standing: Standing) -> Iterator[Explained]:
        """One line for every gap and every key, in the order of their first records."""
        for gap in self._gaps:
            yield from _explain_gap(gap, standing.retired)
        for key_id, lost in self._unreadable.items():
            many = f"its content, like that of {lost.count - 1} further records," if lost.count > 1 else "its content"
            if key_id in standing.erased:
                yield Explained(lost.header, f"{many} was erased by record {standing.erased[key_id]}")
            else:
                yield Explained(lost.header, f"{many} is lost: its key was asked for and no longer exists")


def _explain_gap(gap: Gap, retired: list[Retired]) -> Iterator[Explained]:
    first = gap.header.seq
    many, were = ("its body", "was") if gap.last == first else (f"its body and those up to seq {gap.last}", "were")
    cover = [each for each in retired if each.first <= gap.last and first <= each.last]
    names = ", ".join(str(each.seq) for each in cover)
    unclaimed = _first_unclaimed(first, gap.last, cover)
    if unclaimed is not None:
        alone = "is missing" if gap.last == first else f"are missing; no retirement covers seq {unclaimed}"
        yield Explained(gap.header, f"{many} {alone}")
    elif cover[-1].last >= gap.last and gap.ts >= cover[-1].before:
        young = f"retired by record {names} although {'it was' if gap.last == first else 'they were'} not old enough"
        yield Explained(gap.header, f"{many} {were} {young}", lawful=False)
    else:
        yield Explained(gap.header, f"{many} {were} retired by record {names}")


def _first_unclaimed(first: int, last: int, cover: list[Retired]) -> int | None:
    """The first seq of a gap that no retirement covers."""
    for each in sorted(cover, key=lambda retired: retired.first):
        if each.first > first:
            return first
        first = max(first, each.last + 1)
    return first if first <= last else None
