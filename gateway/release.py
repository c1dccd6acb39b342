"""The one place that writes model text to a client.

It takes only ids that are durable in the log, so at any instant the text handed out is a prefix of the decoded ids of
committed records. An incomplete UTF-8 sequence is kept back until its other bytes are durable. Under `whole` nothing leaves
before the verdict; under `stream` each durable piece leaves at once. What was handed out is counted and hashed for the
delivery record. Single-threaded: owned by the generation's task.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from audit.records import Delivery
from gateway.dialects.openai_reply import Account
from gateway.errors import GatewayError

DurableIds = NewType("DurableIds", tuple[int, ...])
"""Output ids whose records are committed; made only by `generation.py`, after its append has returned."""


class ReleaseRule(StrEnum):
    """When text may leave: each piece once durable, or all of it once the verdict is known."""

    STREAM = "stream"
    WHOLE = "whole"


class Outcome(StrEnum):
    """How a delivery ended, in the words of its record."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True)
class Text:
    """Model text that the client may have."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete and so are its records."""

    account: Account


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer ends here, in error."""

    error: GatewayError


Piece = Text | Ended | Failed


class Outlet:
    """The client's end: pieces in order; it never blocks the generation and holds at most one answer."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()

    def put(self, piece: Piece) -> None:
        """Hand one piece over; called by `Release` alone."""
        self._pieces.put_nowait(piece)

    async def pieces(self) -> AsyncIterator[Piece]:
        """All pieces; the last is an Ended or a Failed."""
        while True:
            piece = await self._pieces.get()
            yield piece
            if not isinstance(piece, Text):
                return


class Release:
    """Turns durable ids into released text, for one generation."""

    def __init__(self, decode_bytes: Callable[[tuple[int, ...]], bytes], rule: ReleaseRule, outlet: Outlet) -> None:
        self._decode_bytes = decode_bytes
        self._rule = rule
        self._outlet = outlet
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._held: list[str] = []
        self._bytes = 0
        self._digest = hashlib.sha256()
        self._open = True

    def durable(self, ids: DurableIds) -> None:
        """Take ids that are committed and hand out what the rule lets go."""
        text = self._utf8.decode(self._decode_bytes(ids))
        if self._rule is ReleaseRule.STREAM:
            self._hand_out(text)
        else:
            self._held.append(text)

    def approve(self) -> None:
        """The verdict is in favour and no more ids will come: hand out everything kept back."""
        held, self._held = "".join(self._held), []
        self._hand_out(held + self._utf8.decode(b"", final=True))

    def client_left(self) -> None:
        """Nobody reads any more: nothing further is handed out, or counted as if it were."""
        self._open = False

    def delivery(self, outcome: Outcome) -> Delivery:
        """The record of what was handed out so far."""
        return Delivery(bytes_released=self._bytes, sha256_released=self._digest.digest(), outcome=outcome.value)

    def end(self, account: Account) -> None:
        """Tell the client that its answer is complete and recorded."""
        self._outlet.put(Ended(account))

    def fail(self, error: GatewayError) -> None:
        """Tell the client that no more will come, and why."""
        self._open = False
        self._outlet.put(Failed(error))

    def _hand_out(self, text: str) -> None:
        if not text or not self._open:
            return
        data = text.encode("utf-8")
        self._bytes += len(data)
        self._digest.update(data)
        self._outlet.put(Text(text))
