"""A policy as it is stored and put on record: the resolved document as canonical JSON, of which its digest is the SHA-256."""

from __future__ import annotations

from pathlib import Path

import msgspec

from policies.check import faults
from policies.document import Document
from policies.errors import PolicyError
from policies.policy import Policy, canonical, seal

TEXT_MOST = 262_144
"""Bytes of a document that a record can hold."""


def written(policy: Policy) -> str:
    """The text of a policy. Raises PolicyError for one that is too long to be put on record."""
    text = canonical(policy.document)
    if len(text) > TEXT_MOST:
        raise PolicyError(Path(policy.name), "", f"has {len(text)} bytes once resolved; at most {TEXT_MOST} can be recorded")
    return text.decode()


def restored(name: str, text: str) -> Policy:
    """The policy of a text that `written` made. Raises PolicyError for anything else, as for a document with a fault."""
    place = Path(name)
    try:
        document = msgspec.json.decode(text, type=Document)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:  # a ValidationError is a DecodeError
        raise PolicyError(place, "", f"is not a stored policy of this release ({error})") from error
    for path, reason in faults(document):
        raise PolicyError(place, path, reason)
    if canonical(document) != text.encode():
        raise PolicyError(place, "", "is not in its canonical form, so its digest is not that of its content")
    return seal(name, document)
