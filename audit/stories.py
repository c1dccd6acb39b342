"""What each request's records add up to, held against what its closing record declares.

One Story per request that has not ended yet; it keeps counters and a running hash, never records. Text of
answers is not looked at: ids are.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from audit.header import Header
from audit.judgements import ReleaseDecision
from audit.records import (
    BlockTrace,
    Body,
    DecodeRun,
    Delivery,
    Kind,
    PolicyDecision,
    PromptBody,
    RequestClose,
    SpecRounds,
)


class Ending(StrEnum):
    """How far the log tells a request."""

    CLOSED = "closed"
    REFUSED = "refused"
    ABANDONED = "abandoned"
    OPEN = "open"


def ending_of(header: Header, body: Body | None) -> Ending | None:
    """How this record ends its request; None if it does not, or if its body was not read and might."""
    if header.kind == Kind.REQUEST_CLOSE:
        return Ending.CLOSED
    if header.kind == Kind.REQUEST_ABANDONED:
        return Ending.ABANDONED
    return Ending.REFUSED if isinstance(body, PolicyDecision) and body.outcome == "refuse" else None


@dataclass(slots=True)
class Story:
    """Counters of one request, in the terms of its closing record."""

    first_seq: int
    records: int = 0
    unread: int = 0
    prompt_tokens: int | None = None
    tokens: int = 0
    blocks: int = 0
    steps: int = 0
    rounds: int = 0
    forwards: int = 0
    withheld: str = ""
    """The verdict that keeps the answer from leaving."""
    ending: Ending = Ending.OPEN
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, header: Header, body: Body | None) -> Iterator[str]:
        """Take in the next record, body None if unread; yields what contradicts the story so far."""
        self.records += 1
        self.unread += body is None
        if self.ending is not Ending.OPEN:
            yield f"a record follows although the request was {self.ending}"
        self.ending = ending_of(header, body) or self.ending
        match body:
            case PromptBody():
                self.prompt_tokens = len(body.ids)
            case ReleaseDecision():
                self.withheld = body.verdict if body.verdict in ("hold", "block") else ""
            case Delivery():
                if self.withheld and body.bytes_released:
                    yield f"{body.bytes_released} bytes were delivered of an answer whose verdict was {self.withheld}"
            case RequestClose():
                yield from self._compare(body)
            case None:
                pass
            case _:
                self._count(body)

    def _count(self, body: Body) -> None:
        match body:
            case BlockTrace():
                self.blocks += 1
                self.steps += body.steps.steps
                self._output(body.output, body.forwards)
            case SpecRounds():
                self.rounds += len(body.rounds)
                for each in body.rounds:
                    self._output(each.output, each.forwards)
            case DecodeRun():
                self._output(body.output, body.forwards)

    def _output(self, ids: tuple[int, ...], forwards: int) -> None:
        self.tokens += len(ids)
        self.forwards += forwards
        self.digest.update(struct.pack(f">{len(ids)}I", *ids))

    def _compare(self, close: RequestClose) -> Iterator[str]:
        if close.records != self.records:
            yield f"request.close declares {close.records} records, the log holds {self.records}"
        if self.unread:
            return
        for name in ("tokens", "blocks", "steps", "rounds", "forwards"):
            declared, held = getattr(close, name), getattr(self, name)
            if declared != held:
                yield f"request.close declares {declared} {name}, the records hold {held}"
        if self.prompt_tokens is not None and close.prompt_tokens != self.prompt_tokens:
            yield f"request.close declares {close.prompt_tokens} prompt tokens, not {self.prompt_tokens}"
        if close.output_digest != self.digest.digest():
            yield "the output ids do not hash to the digest that request.close declares"


class Stories:
    """All requests of a log, fed in order of seq."""

    def __init__(self) -> None:
        self._open: dict[UUID, Story] = {}
        self._ended: dict[UUID, Ending] = {}
        self.counts_unchecked = 0

    def add(self, header: Header, body: Body | None) -> Iterator[str]:
        """Take in one record; yields contradictions. Records outside any request have no story."""
        request = header.request
        if request is None:
            return
        if request in self._ended:
            yield f"a record follows although request {request} was {self._ended[request]}"
            return
        story = self._open.setdefault(request, Story(header.seq))
        yield from story.add(header, body)
        if story.ending is not Ending.OPEN:
            self.counts_unchecked += story.ending is Ending.CLOSED and story.unread > 0
            self._ended[request] = story.ending
            del self._open[request]

    def total(self, ending: Ending) -> int:
        """How many requests ended so."""
        if ending is Ending.OPEN:
            return len(self._open)
        return sum(each is ending for each in self._ended.values())

    def open_requests(self) -> tuple[UUID, ...]:
        """Requests whose end the log does not hold, oldest first."""
        return tuple(self._open)
