"""What a request consumed, by its records: for a lease whose holder is gone, and for the end that its holder recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol
from uuid import UUID

from audit.approvals import Attached
from audit.keys import KeyStore
from audit.records import BlockTrace, Body, DecodeRun, EngineNote, RequestClose, RequestOpen, SpecRounds
from audit.store import Reader
from engine.events import FinishReason
from gateway.recorded import records_of
from policies import Usage

MICROSECONDS: Final = 1_000_000


class Counted(Protocol):
    """The counts at the end of a request, as the engine tells them and as request.close has them."""

    @property
    def reason(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def forwards(self) -> int: ...
    @property
    def busy_us(self) -> int | None: ...


def usage_at_end(end: Counted, lasted: Decimal) -> Usage:
    """What a request that came to its end has used; one that failed before any pass has used nothing.

    Its seconds are those that the engine measured; where it did not, those that the request `lasted`.
    """
    if end.reason == FinishReason.FAULT.value and not end.tokens and not end.forwards:
        return Usage()
    seconds = lasted if end.busy_us is None else Decimal(end.busy_us) / MICROSECONDS
    return Usage(end.prompt_tokens, end.tokens, end.forwards, seconds)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The records of one request, and the seconds from its first to its last."""

    bodies: Sequence[Body]
    seconds: Decimal

    @classmethod
    def read(cls, reader: Reader, keys: KeyStore, request: UUID) -> Recorded:
        """All that can be read. Blocking."""
        found = list(records_of(reader, keys, request))
        spent = Decimal(found[-1][0].ts - found[0][0].ts) / MICROSECONDS if found else Decimal(0)
        return cls(tuple(body for _, body in found if body is not None), spent)

    def usage(self) -> Usage | None:
        """By the request's end, else by what was decoded until it broke off; None if it never was opened or attached."""
        if any(isinstance(body, Attached) for body in self.bodies):
            return Usage()
        opening = next((body for body in self.bodies if isinstance(body, RequestOpen)), None)
        if opening is None:
            return None
        close = next((body for body in self.bodies if isinstance(body, RequestClose)), None)
        if close is not None:
            return usage_at_end(close, self.seconds)
        tokens, forwards = self._decoded()
        prefilled = tokens or any(isinstance(body, EngineNote) and body.note == "prefilled" for body in self.bodies)
        return Usage(opening.prompt_tokens, tokens, forwards, self.seconds) if prefilled else Usage()

    def _decoded(self) -> tuple[int, int]:
        """Tokens of the answer and forwards, over all records that tell of them."""
        tokens = forwards = 0
        for body in self.bodies:
            if isinstance(body, BlockTrace | DecodeRun):
                tokens, forwards = tokens + len(body.output), forwards + body.forwards
            elif isinstance(body, SpecRounds):
                tokens += sum(len(each.output) for each in body.rounds)
                forwards += sum(each.forwards for each in body.rounds)
        return tokens, forwards
