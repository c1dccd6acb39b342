"""Step 1: who asks. A key comes as `Authorization: Bearer KEY` or `x-api-key: KEY`.

Absent, unknown and revoked keys are told apart by nothing but a counter: the answer is one 401. If the keys' table
cannot be read the answer is 503, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import Unauthenticated, Unavailable
from gateway.keyring import Keyring
from gateway.registry import Subject

__all__ = ["Subject", "authenticate", "bearer_of", "key_of"]


async def authenticate(keyring: Keyring, headers: Mapping[str, str]) -> Subject:
    """The subject of a request by its headers (names in lower case). Raises Unauthenticated or Unavailable."""
    key = key_of(headers)
    if key is None:
        keyring.refused.add("absent")
        raise Unauthenticated("no API key: send it as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'")
    try:
        subject = await keyring.find(key)
    except SQLAlchemyError as error:
        raise Unavailable("the key table cannot be read; try again later", code="database_unavailable") from error
    if subject is None:
        keyring.refused.add("unknown")
        raise Unauthenticated("incorrect API key: ask your administrator for a valid one")
    return subject


def key_of(headers: Mapping[str, str]) -> str | None:
    """The key that came with a request, None if there is none."""
    return bearer_of(headers) or headers.get("x-api-key", "").strip() or None


def bearer_of(headers: Mapping[str, str]) -> str | None:
    """What came as `Authorization: Bearer`, None if nothing did."""
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None
