"""The one place that writes model text to a client.

It takes only ids that are durable in the log, so at any instant the text handed out is a prefix of the decoded ids of
committed records. Kept back until more is durable: an incomplete UTF-8 sequence, and whatever may be the head of a stop string;
from a stop string on nothing is handed out. Under `whole` nothing leaves before the verdict is on record; under `stream` each
durable piece leaves at once, but for the last, whose records are committed with the verdict. What is handed out is counted and
hashed for the delivery record, the last of it before it leaves.
A held answer leaves as people let it go, to the byte (`let_go`); one that has left may be told again (`told_again`).
Single-threaded: owned by the generation's task.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import NewType

from audit.records import Delivery
from gateway.approvals.choices import Cleared
from gateway.errors import GatewayError
from gateway.pieces import Account, Approval, Ended, Failed, Held, Made, Piece, Text, joined
from gateway.recall import Ending, Recalled, Unreadable
from gateway.scores import Said, TokenScore
from gateway.stop_text import StopText

DurableTokens = NewType("DurableTokens", Said)
"""Output whose records are committed; made only by `generation.py`, after its append has returned."""


class ReleaseRule(StrEnum):
    """When text may leave: each piece once durable, or all of it once the verdict is known."""

    STREAM = "stream"
    WHOLE = "whole"


class Outcome(StrEnum):
    """How a delivery ended, in the words of its record."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    WITHHELD = "withheld"


class Outlet:
    """The client's end: pieces in order; it never blocks the generation and holds at most one answer."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[Made] = asyncio.Queue()

    def put(self, piece: Made) -> None:
        """Hand one piece over; called by `Release` alone."""
        self._pieces.put_nowait(piece)

    async def pieces(self) -> AsyncIterator[Made]:
        """All pieces; the last is an Ended, a Failed or a Held."""
        while True:
            piece = await self._pieces.get()
            yield piece
            if not isinstance(piece, Text):
                return


class Release:
    """Turns durable tokens into released text, for one generation."""

    def __init__(self, rule: ReleaseRule, outlet: Outlet, stop: Sequence[str] = ()) -> None:
        self._rule, self._outlet = rule, outlet
        self._stop = StopText(stop)
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: deque[tuple[int, TokenScore]] = deque()
        self._seen = self._cleared = 0
        self._held: list[Text] = []
        self._text: list[str] = []
        self._bytes = 0
        self._digest = hashlib.sha256()
        self._last: Text | None = None
        self._open = True

    def durable(self, said: DurableTokens) -> None:
        """Take tokens that are committed and hand out what the rule lets go."""
        self._pass_on(self._taken(said))

    def ending(self, said: Said) -> None:
        """Take the last tokens, whose records are committed together with the end: their text leaves with it."""
        self._keep(self._taken(said))

    def whole(self) -> str:
        """No more tokens will come: all text of the answer, as its client would have it, for whoever judges it."""
        self._keep(self._cleared_text(self._stop.rest(), final=True))
        return "".join(self._text)

    def approve(self) -> None:
        """The verdict on the whole is in favour: count all that is kept back, which leaves at the end."""
        last, self._held = joined(self._held), []
        if self._counts(last):
            self._last = last

    @property
    def stopped_by(self) -> str | None:
        """The stop string before which the text ended, if one did it."""
        return self._stop.found

    def withhold(self) -> None:
        """The verdict is against it, or stands out: nothing further is handed out."""
        self._open = False

    def client_left(self) -> None:
        """Nobody reads any more: nothing further is handed out, or counted as if it were."""
        self._open = False

    def delivery(self, outcome: Outcome) -> Delivery:
        """The record of what was handed out so far, or is approved and about to be."""
        return Delivery(bytes_released=self._bytes, sha256_released=self._digest.digest(), outcome=outcome.value)

    def end(self, account: Account) -> None:
        """The answer is complete and recorded: hand out what was approved, and say so."""
        if self._last is not None and self._open:
            self._outlet.put(self._last)
        self._outlet.put(Ended(account))

    def hold(self, held: Held) -> None:
        """The answer is complete and recorded, and stays here until people have decided."""
        self._open = False
        self._outlet.put(held)

    def fail(self, error: GatewayError) -> None:
        """Tell the client that no more will come, and why."""
        self._open = False
        self._outlet.put(Failed(error))

    def _taken(self, said: Said) -> Text:
        """The text that has become clear with these tokens."""
        for score in said.scores:
            self._seen += len(score.data)
            if score.data:
                self._waiting.append((self._seen, score))
        return self._cleared_text(self._stop.clear(said.data))

    def _cleared_text(self, data: bytes, *, final: bool = False) -> Text:
        """Bytes that may be read, as text, with the tokens that are complete by them."""
        text = self._utf8.decode(data, final=final)
        self._cleared += len(data)
        readable = self._cleared - len(self._utf8.getstate()[0])
        scores: list[TokenScore] = []
        while self._waiting and self._waiting[0][0] <= readable:
            scores.append(self._waiting.popleft()[1])
        return Text(text, tuple(scores))

    def _pass_on(self, piece: Text) -> None:
        if self._rule is ReleaseRule.WHOLE:
            self._keep(piece)
            return
        self._text.append(piece.text)
        self._hand_out(piece)

    def _keep(self, piece: Text) -> None:
        self._text.append(piece.text)
        self._held.append(piece)

    def _hand_out(self, piece: Text) -> None:
        if self._counts(piece):
            self._outlet.put(piece)

    def _counts(self, piece: Text) -> bool:
        """Count a piece that may leave; False for one that is empty or may not."""
        if not self._open or not (piece.text or piece.scores):
            return False
        data = piece.text.encode("utf-8")
        self._bytes += len(data)
        self._digest.update(data)
        return True


def let_go(cleared: Cleared, account: Account) -> tuple[Piece, ...]:
    """A held answer that people let go; its delivery is on record. Raises Unreadable unless it is what they decided on."""
    data, digest = cleared.text.encode(), cleared.case.content_sha256
    if hashlib.sha256(data).digest() != digest:
        raise Unreadable("the text that was to be released is not the one that was approved; run `palimpsest audit verify`")
    approval = Approval(cleared.case.generation, digest.hex(), cleared.case.opened.content is not None)
    return Text(cleared.text), Ended(replace(account, approval=approval))


def told_again(recalled: Recalled) -> tuple[Piece, ...]:
    """An answer that left before, for a client that asked the same. Raises ValueError for one that did not."""
    if recalled.ending is not Ending.ANSWERED:
        raise ValueError("only an answer that was released is told again")
    return Text(recalled.text), Ended(recalled.account)
