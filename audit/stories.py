"""What each request's records add up to, held against what its closing record declares, and its approval against the rules.

One Story per request that has not ended yet; it keeps counters, a running hash and leaf hashes, never records. Of a held
answer its case stays, for people may act on it as long as the log grows. Text of answers is not looked at: ids are.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from audit.approvals import Attached
from audit.casebook import Casebook
from audit.cases import Drafts
from audit.header import Header, LeafHash
from audit.held import CASE_KINDS
from audit.judgements import ReleaseDecision
from audit.merkle import tree_root
from audit.records import (
    BlockTrace,
    Body,
    DecodeRun,
    Delivery,
    Kind,
    PolicyDecision,
    PromptBody,
    RequestClose,
    RequestOpen,
    SpecRounds,
)

_TEXT: Final = frozenset((Kind.BLOCK, Kind.SPEC_ROUNDS, Kind.DECODE_RUN))
"""Kinds that an answer is made of."""


class Ending(StrEnum):
    """How far the log tells a request."""

    CLOSED = "closed"
    REFUSED = "refused"
    ABANDONED = "abandoned"
    ATTACHED = "attached"
    """Answered by an earlier generation."""
    OPEN = "open"


def ending_of(header: Header, body: Body | None) -> Ending | None:
    """How this record ends its request; None if it does not, or if its body was not read and might."""
    if header.kind == Kind.REQUEST_CLOSE:
        return Ending.CLOSED
    if header.kind == Kind.REQUEST_ABANDONED:
        return Ending.ABANDONED
    if header.kind == Kind.ATTACHED:
        return Ending.ATTACHED
    return Ending.REFUSED if isinstance(body, PolicyDecision) and body.outcome == "refuse" else None


@dataclass(slots=True)
class Story:
    """Counters of one request, in the terms of its closing record."""

    first_seq: int
    caller: str
    records: int = 0
    unread: int = 0
    prompt_tokens: int | None = None
    tokens: int = 0
    blocks: int = 0
    steps: int = 0
    rounds: int = 0
    forwards: int = 0
    withheld: str = ""
    """The verdict that keeps the answer from leaving; once said it stands, whatever the log says after it."""
    judged: bool = False
    """Whether the answer has its verdict, read or not."""
    delivered: bool = False
    last_seq: int = 0
    leaves: list[LeafHash] = field(default_factory=list)
    """Of its records until the verdict: what an approval is bound to."""
    drafts: Drafts | None = None
    """What was judged; None before the verdict."""
    unjudged: bool = False
    """Whether there is a verdict that could not be read."""
    policy_digest: bytes | None = None
    weights_digest: bytes | None = None
    ending: Ending = Ending.OPEN
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, header: Header, body: Body | None, leaf: LeafHash) -> Iterator[str]:
        """Take in the next record, body None if unread; yields what contradicts the story so far."""
        self.records += 1
        self.unread += body is None
        if header.kind in CASE_KINDS:
            yield "a record of an approval stands before the end of its request"
        self.ending = ending_of(header, body) or self.ending
        yield from self._turn(header.kind)
        self._bind(header, body, leaf)
        match body:
            case RequestOpen():
                self.weights_digest = body.weights_digest
            case PolicyDecision():
                self.policy_digest = body.policy_digest
            case PromptBody():
                self.prompt_tokens = len(body.ids)
            case ReleaseDecision():
                self.withheld = self.withheld or (body.verdict if body.verdict in ("hold", "block") else "")
            case Delivery():
                if self.withheld and body.bytes_released:
                    yield f"{body.bytes_released} bytes were delivered of an answer whose verdict was {self.withheld}"
            case RequestClose():
                yield from self._compare(body)
            case None:
                pass
            case _:
                self._count(body)

    def _turn(self, kind: int) -> Iterator[str]:
        """Text, then one verdict on it, then one delivery; told by kinds alone, so that no body can hide another order."""
        if kind == Kind.RELEASE_DECISION:
            if self.judged:
                yield "it is a second verdict on one answer"
            if self.delivered:
                yield "it is a verdict on an answer that was delivered before"
            self.judged = True
        elif kind == Kind.DELIVERY:
            if self.delivered:
                yield "it is a second delivery of one answer"
            self.delivered = True
        elif kind in _TEXT and self.judged:
            yield "it adds text to an answer that was judged before"

    def _bind(self, header: Header, body: Body | None, leaf: LeafHash) -> None:
        """The verdict is about the records before it."""
        if header.kind == Kind.RELEASE_DECISION and self.leaves:
            root, digests = tree_root(self.leaves), (self.policy_digest, self.weights_digest)
            self.drafts = Drafts(self.first_seq, self.last_seq, root, self.caller, *digests)
            self.leaves.clear()
            self.unjudged = body is None
        elif self.drafts is None:
            self.leaves.append(leaf)
        self.last_seq = header.seq

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
        self.casebook = Casebook()
        self.counts_unchecked = 0

    def add(self, header: Header, body: Body | None, leaf: LeafHash) -> Iterator[str]:
        """Take in one record; yields contradictions. Of records outside any request, delegations and passkeys count."""
        request = header.request
        if header.kind == Kind.DELEGATION:
            yield from self.casebook.delegate(header, body)
        elif header.kind == Kind.PASSKEY_CHANGE:
            yield from self.casebook.enrol(header, body)
        elif request is None:
            return
        elif header.kind in CASE_KINDS and self._ended.get(request) is Ending.CLOSED:
            yield from self.casebook.add(request, header, body)
        elif request in self._ended:
            yield f"a record follows although request {request} was {self._ended[request]}"
        else:
            yield from self._go_on(request, header, body, leaf)

    def total(self, ending: Ending) -> int:
        """How many requests ended so."""
        if ending is Ending.OPEN:
            return len(self._open)
        return sum(each is ending for each in self._ended.values())

    def open_requests(self) -> tuple[UUID, ...]:
        """Requests whose end the log does not hold, oldest first."""
        return tuple(self._open)

    def _go_on(self, request: UUID, header: Header, body: Body | None, leaf: LeafHash) -> Iterator[str]:
        story = self._open.setdefault(request, Story(header.seq, header.actor))
        yield from story.add(header, body, leaf)
        if header.kind == Kind.ATTACHED:
            yield from self._attach(request, body, story.records)
        if story.ending is not Ending.OPEN:
            self.counts_unchecked += story.ending is Ending.CLOSED and story.unread > 0
            self._ended[request] = story.ending
            if story.ending is Ending.CLOSED:
                self._enter(header.tenant, request, story)
            del self._open[request]

    def _enter(self, tenant: str, request: UUID, story: Story) -> None:
        if story.withheld == "hold":
            self.casebook.hold(tenant, request, story.drafts)
        elif story.drafts is not None and story.unjudged:
            self.casebook.pass_over(request)

    def _attach(self, request: UUID, body: Body | None, records: int) -> Iterator[str]:
        if records != 1:
            yield "a request that is attached to another has a record of its own"
        if isinstance(body, Attached):
            known = body.generation in self._open or self._ended.get(body.generation) in (Ending.CLOSED, Ending.ABANDONED)
            if not known:
                yield f"it is attached to generation {body.generation}, which no record before it opens"
            self.casebook.attached[request] = body.generation
        else:
            self.casebook.attached[request] = None
