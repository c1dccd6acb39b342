"""One record as derived files see it: its header, and its body as far as the bundle shows it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from audit.errors import MalformedData, SealBroken
from audit.export.disclosure import Answers, Undisclosed
from audit.header import Header
from audit.records import Body, decode_body
from audit.sealing import unseal


class BodyState(StrEnum):
    """What a reader of the bundle can see of a body."""

    SHOWN = "shown"
    UNDISCLOSED = "undisclosed"
    KEY_GONE = "key gone"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    """Another body than the header commits to, one that does not open, or a kind or schema that is unknown here."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A record whose header could be read; `body` is there exactly when the state is SHOWN."""

    header: Header
    leaf: bytes
    state: BodyState
    body: Body | None


def open_record(header: Header, leaf: bytes, sealed: bytes | None, answers: Answers) -> Opened:
    """Open one record as far as `answers` let it; nothing is judged and nothing raised."""
    state, body = _open(header, sealed, answers)
    return Opened(header, leaf, state, body)


def _open(header: Header, sealed: bytes | None, answers: Answers) -> tuple[BodyState, Body | None]:
    if sealed is None:
        return BodyState.MISSING, None
    key = answers.key(header)
    if key is Undisclosed.NOT_ASKED:
        return BodyState.UNDISCLOSED, None
    if isinstance(key, Undisclosed):
        return BodyState.KEY_GONE, None
    if hashlib.sha256(sealed).digest() != header.body_sha256:
        return BodyState.UNREADABLE, None
    try:
        plain = unseal(key, header.tenant, header.record, sealed)
        return BodyState.SHOWN, decode_body(header.kind, header.schema, plain)
    except (SealBroken, MalformedData):
        return BodyState.UNREADABLE, None
