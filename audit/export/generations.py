"""What the records of one generation add up to, in bounded memory: for documents about single generations.

Only a request whose opening record is disclosed is gathered. What is kept of it are figures, output ids and the
texts of its first records, never planes; beyond the limits only the number of further items is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from audit.export.opened import Opened
from audit.header import Header
from audit.merkle import CompactRange
from audit.records import (
    BlockTrace,
    Body,
    DecodeRun,
    Delivery,
    EngineNote,
    GateVerdict,
    Kind,
    PolicyDecision,
    PromptBody,
    RequestClose,
    RequestOpen,
    SpecRounds,
)
from audit.stories import Ending, ending_of

MOST_ITEMS = 500
MOST_OUTPUT = 65_536
_ENDINGS = (Kind.DELIVERY, Kind.REQUEST_CLOSE, Kind.REQUEST_ABANDONED)


@dataclass(frozen=True, slots=True)
class Draft:
    """One unit of decoding: a block, a round of speculation, or a run of causal tokens (which has no draft)."""

    header: Header
    kind: str
    index: int
    start: int
    draft: tuple[int, ...]
    """What was proposed first: the ids of step 0 of a block, the draft of a round."""
    output: tuple[int, ...]
    steps: int
    forwards: int
    confidence: float | None
    """The lowest with which a token was committed or drafted."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A verdict and the record that holds it."""

    header: Header
    verdict: GateVerdict


Item: TypeAlias = Draft | Gate | EngineNote


@dataclass(slots=True)
class Generation:
    """One generation so far. `leaves` is the tree over the leaves of its own records, in their order."""

    request: UUID
    opened: RequestOpen
    first: Header
    last: Header
    prompt: PromptBody | None = None
    prompt_header: Header | None = None
    decision: PolicyDecision | None = None
    delivery: Delivery | None = None
    close: RequestClose | None = None
    ending: Ending = Ending.OPEN
    records: int = 0
    unread: int = 0
    tokens: int = 0
    unlisted: int = 0
    output: list[int] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    endings: list[Header] = field(default_factory=list)
    """Headers of its delivery and of its end."""
    leaves: CompactRange = field(default_factory=CompactRange)

    @property
    def name(self) -> str:
        """A file name without suffix, which sorts as the log does."""
        return f"{self.first.seq:012d}-{self.request}"

    @property
    def drafts(self) -> list[Draft]:
        """The units of decoding, in order."""
        return [item for item in self.items if isinstance(item, Draft)]

    @property
    def gates(self) -> list[Gate]:
        """The verdicts, in order."""
        return [item for item in self.items if isinstance(item, Gate)]

    @property
    def notes(self) -> list[EngineNote]:
        """What the engine noted, in order."""
        return [item for item in self.items if isinstance(item, EngineNote)]

    def add(self, opened: Opened) -> None:
        """Take in the next record of this request."""
        header, body = opened.header, opened.body
        self.last, self.records = header, self.records + 1
        self.unread += body is None
        self.leaves.append(opened.leaf)
        if header.kind in _ENDINGS and len(self.endings) < MOST_ITEMS:
            self.endings.append(header)
        self.ending = ending_of(header, body) or self.ending
        self._keep(header, body)
        for item in _items(header, body):
            self._list(item)

    def _keep(self, header: Header, body: Body | None) -> None:
        match body:
            case PromptBody():
                self.prompt, self.prompt_header = body, header
            case PolicyDecision():
                self.decision = body
            case Delivery():
                self.delivery = body
            case RequestClose():
                self.close = body

    def _list(self, item: Item) -> None:
        if isinstance(item, Draft):
            self.tokens += len(item.output)
            self.output += item.output[: MOST_OUTPUT - len(self.output)]
        if len(self.items) < MOST_ITEMS:
            self.items.append(item)
        else:
            self.unlisted += 1


def _items(header: Header, body: Body | None) -> Iterator[Item]:
    match body:
        case BlockTrace():
            first, sure = body.steps.ids[: body.steps.width], min(body.commit_confidence, default=None)
            yield Draft(
                header, "block", body.index, body.start, first, body.output, body.steps.steps, body.forwards, sure
            )  # fmt: skip
        case SpecRounds():
            for each in body.rounds:
                sure = min(each.draft_confidence, default=None)
                yield Draft(header, "round", each.index, each.start, each.draft, each.output, 0, each.forwards, sure)
        case DecodeRun():
            yield Draft(header, "run", 0, body.start, (), body.output, 0, body.forwards, None)
        case GateVerdict():
            yield Gate(header, body)
        case EngineNote():
            yield body


class Generations:
    """The generations of a log, fed in order of seq; memory grows with those that are under way at one time."""

    def __init__(self) -> None:
        self._under_way: dict[UUID, Generation] = {}

    def add(self, opened: Opened) -> Generation | None:
        """Take in one record; returns the generation that it ends."""
        header = opened.header
        if header.request is None:
            return None
        if header.request not in self._under_way:
            if not isinstance(opened.body, RequestOpen):
                return None
            self._under_way[header.request] = Generation(header.request, opened.body, header, header)
        told = self._under_way[header.request]
        told.add(opened)
        return None if told.ending is Ending.OPEN else self._under_way.pop(header.request)

    def remaining(self) -> Iterator[Generation]:
        """Those that have not ended by the end of the log, oldest first."""
        yield from self._under_way.values()
