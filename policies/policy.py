"""A policy in force: a resolved document, its name on record, and its form for the judge."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

import msgspec

from policies.compiled import Compiled, compile_document
from policies.document import Document
from policies.shadow import unrestricted
from policies.verdicts import PolicyDigest
from policies.words import Enforcement

_ALWAYS_NAMED: Final = frozenset({"schema", "tenant", "inherit", "enforcement", "release", "modes", "limits"})
"""Keys of the first documents. Later keys count only where they say something, so that those keep the names they have."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A resolved document and the digest (32 bytes) every decision made under it carries."""

    name: str
    document: Document
    digest: PolicyDigest
    compiled: Compiled = field(repr=False, compare=False)
    lifted: Policy | None = field(repr=False, compare=False, default=None)
    """What acts in its place while the document is only a shadow."""


def seal(name: str, document: Document) -> Policy:
    """Give a document its digest, and make it ready."""
    called = digest(document)
    lifted = None
    if document.enforcement is Enforcement.SHADOW:
        free = unrestricted(document)
        lifted = Policy(name, free, called, compile_document(free))
    return Policy(name, document, called, compile_document(document), lifted)


def digest(document: Document) -> PolicyDigest:
    """SHA-256 over the canonical JSON of `document`."""
    return PolicyDigest(hashlib.sha256(canonical(document)).digest())


def canonical(document: Document) -> bytes:
    """The document as JSON with sorted keys, less the parent's name: its content is already in."""
    resolved = msgspec.structs.replace(document, inherit=None)
    defaults = Document(schema=document.schema, tenant=document.tenant, modes=document.modes)
    said = {
        key: getattr(resolved, key)
        for key in resolved.__struct_fields__
        if key in _ALWAYS_NAMED or getattr(resolved, key) != getattr(defaults, key)
    }
    return msgspec.json.encode(said, order="sorted")
