"""Bodies of administrative acts, kinds 40 to 55: what people did to the house rather than what a model said.

What destroys content, shortens its life or changes the law needs two people who are not one: `requested_by`
and `approved_by` are compared here, where a record is made and where it is read, so neither an author nor a verifier
can pass over it. Names are what the caller proved elsewhere; nothing here authenticates them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from audit.errors import InvalidRecord
from audit.forms import BOOL, DIGEST, FLOAT, UINT, UUID16, at, blob, maybe, octets, one_of, sequence, text
from audit.passkeys import CREDENTIAL_MOST, require_key

KEEPER = "palimpsest:acts"
"""The subject whose month keys seal these bodies. It cannot be erased: who erased what must stay readable."""

PERSON = text(256)
REASON = text(2048)
LABEL = text(256)
KEY_ID = text(128)
SALT = octets(16)

_MOST_KEYS = 4096


def commit_to(subject: str, salt: bytes) -> bytes:
    """SHA-256(salt || subject in UTF-8): tells whoever knows the subject that it was meant, and nobody else who it was."""
    return hashlib.sha256(salt + subject.encode("utf-8", "surrogatepass")).digest()


def identity(name: str) -> str:
    """What makes two names one person's: the case and the spaces of a name do not."""
    return " ".join(name.split()).casefold()


def require_two(requested_by: str, approved_by: str) -> None:
    """Raise InvalidRecord unless these are two people, whatever the case and the spaces of their names."""
    if identity(requested_by) == identity(approved_by):
        raise InvalidRecord(f"{approved_by!r} cannot approve what {requested_by!r} asked for: name a second person")


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """Kind 40: another policy is in force; `document` is its text, of which `after` is the SHA-256.

    With a `share` it is only tried: that share of requests is judged under it, the others under `before` as they were.
    """

    before: bytes | None = field(metadata=at(1, maybe(DIGEST)))
    after: bytes = field(metadata=at(2, DIGEST))
    document: str = field(metadata=at(3, text(262_144)))
    reason: str = field(metadata=at(4, REASON))
    requested_by: str = field(metadata=at(5, PERSON))
    approved_by: str = field(metadata=at(6, PERSON))
    share: float | None = field(default=None, metadata=at(7, maybe(FLOAT)))

    def __post_init__(self) -> None:
        require_two(self.requested_by, self.approved_by)
        if self.share is not None and not 0.0 < self.share < 1.0:
            raise InvalidRecord("a policy is tried on a share of requests above 0 and below 1")
        if hashlib.sha256(self.document.encode("utf-8", "surrogatepass")).digest() != self.after:
            raise InvalidRecord("the digest of a policy is not that of its text")


@dataclass(frozen=True, slots=True)
class KeyChange:
    """Kind 41: a caller's, signer's or witness's key was made, revoked or rotated; `key` is its public id."""

    act: str = field(metadata=at(1, one_of("made", "revoked", "rotated")))
    purpose: str = field(metadata=at(2, one_of("caller", "signer", "witness")))
    key: str = field(metadata=at(3, KEY_ID))
    label: str | None = field(metadata=at(4, maybe(LABEL)))
    requested_by: str = field(metadata=at(5, PERSON))
    """As in every act: a user by name, one of tenant `system` as `system/NAME`, or `account NAME` of the operating system."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """Kind 42: the named month keys of one subject are destroyed. The subject itself is only committed to."""

    subject: bytes = field(metadata=at(1, DIGEST))
    """`commit_to(subject, salt)`."""
    salt: bytes = field(metadata=at(2, SALT))
    key_ids: tuple[str, ...] = field(metadata=at(3, sequence(KEY_ID)))
    """Ascending, each once."""
    reason: str = field(metadata=at(4, REASON))
    requested_by: str = field(metadata=at(5, PERSON))
    approved_by: str = field(metadata=at(6, PERSON))

    def __post_init__(self) -> None:
        require_two(self.requested_by, self.approved_by)
        if not 0 < len(self.key_ids) <= _MOST_KEYS or list(self.key_ids) != sorted(set(self.key_ids)):
            raise InvalidRecord(f"an erasure names 1 to {_MOST_KEYS} keys in ascending order, each once")


@dataclass(frozen=True, slots=True)
class HoldPlaced:
    """Kind 43: nothing of the subject, or of the whole tenant, may be erased or retired. One person may place it."""

    hold: UUID = field(metadata=at(1, UUID16))
    subject: str | None = field(metadata=at(2, maybe(PERSON)))
    reason: str = field(metadata=at(3, REASON))
    requested_by: str = field(metadata=at(4, PERSON))


@dataclass(frozen=True, slots=True)
class HoldReleased:
    """Kind 44: a hold ends."""

    hold: UUID = field(metadata=at(1, UUID16))
    reason: str = field(metadata=at(2, REASON))
    requested_by: str = field(metadata=at(3, PERSON))
    approved_by: str = field(metadata=at(4, PERSON))

    def __post_init__(self) -> None:
        require_two(self.requested_by, self.approved_by)


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """Kind 45: how many days bodies of this tenant are kept, None for ever; replaces the rule before."""

    days: int | None = field(metadata=at(1, maybe(UINT)))
    reason: str = field(metadata=at(2, REASON))
    requested_by: str = field(metadata=at(3, PERSON))
    approved_by: str = field(metadata=at(4, PERSON))

    def __post_init__(self) -> None:
        require_two(self.requested_by, self.approved_by)
        if self.days is not None and not 1 <= self.days <= 36_525:
            raise InvalidRecord("bodies are kept for 1 to 36525 days, or for ever")


@dataclass(frozen=True, slots=True)
class Retirement:
    """Kind 46: bodies of records `first` to `last`, all older than `before`, are removed under the rule at seq `rule`.

    The two people are those of the rule. Bodies of administrative acts in the range stay.
    """

    rule: int = field(metadata=at(1, UINT))
    before: int = field(metadata=at(2, UINT))
    """Microseconds since 1970-01-01 UTC."""
    first: int = field(metadata=at(3, UINT))
    last: int = field(metadata=at(4, UINT))
    requested_by: str = field(metadata=at(5, PERSON))

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise InvalidRecord("a retirement has at least one record")


@dataclass(frozen=True, slots=True)
class Access:
    """Kind 47: a person read content of records `first` to `last`, or of one request among them."""

    request: UUID | None = field(metadata=at(1, maybe(UUID16)))
    first: int = field(metadata=at(2, UINT))
    last: int = field(metadata=at(3, UINT))
    reason: str = field(metadata=at(4, REASON))
    requested_by: str = field(metadata=at(5, PERSON))

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise InvalidRecord("an access has at least one record")


@dataclass(frozen=True, slots=True)
class Export:
    """Kind 48: the log left the house as it stood at `size` records; `requests` counts those that were disclosed."""

    format: str = field(metadata=at(1, LABEL))
    size: int = field(metadata=at(2, UINT))
    disclosed: str = field(metadata=at(3, one_of("nothing", "requests", "all")))
    requests: int = field(metadata=at(4, UINT))
    reason: str = field(metadata=at(5, REASON))
    requested_by: str = field(metadata=at(6, PERSON))

    def __post_init__(self) -> None:
        if (self.disclosed == "requests") != (self.requests > 0):
            raise InvalidRecord("an export counts the requests that it discloses, if it discloses by request")


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """Kind 49: the database came to another schema; digests are catalog fingerprints."""

    revision: str = field(metadata=at(1, LABEL))
    before: bytes | None = field(metadata=at(2, maybe(DIGEST)))
    after: bytes = field(metadata=at(3, DIGEST))
    requested_by: str = field(metadata=at(4, PERSON))


@dataclass(frozen=True, slots=True)
class ErasureRefused:
    """Kind 50: an erasure was asked for and legal holds forbade it."""

    subject: bytes = field(metadata=at(1, DIGEST))
    salt: bytes = field(metadata=at(2, SALT))
    holds: tuple[UUID, ...] = field(metadata=at(3, sequence(UUID16)))
    reason: str = field(metadata=at(4, REASON))
    requested_by: str = field(metadata=at(5, PERSON))
    approved_by: str = field(metadata=at(6, PERSON))

    def __post_init__(self) -> None:
        require_two(self.requested_by, self.approved_by)
        if not self.holds:
            raise InvalidRecord("an erasure is refused for at least one hold")


@dataclass(frozen=True, slots=True)
class TenantMade:
    """Kind 51, in the log of tenant `system`: there is another tenant."""

    tenant: str = field(metadata=at(1, LABEL))
    requested_by: str = field(metadata=at(2, PERSON))


@dataclass(frozen=True, slots=True)
class UserChange:
    """Kind 52: a user was made or changed; the fields are what holds from now on. A password is never among them."""

    act: str = field(metadata=at(1, one_of("made", "password", "roles", "groups", "disabled", "enabled", "signed_out")))
    user: UUID = field(metadata=at(2, UUID16))
    name: str = field(metadata=at(3, PERSON))
    display_name: str = field(metadata=at(4, LABEL))
    roles: tuple[str, ...] = field(metadata=at(5, sequence(LABEL)))
    groups: tuple[str, ...] = field(metadata=at(6, sequence(LABEL)))
    """Ascending, each once, as are the roles."""
    enabled: bool = field(metadata=at(7, BOOL))
    requested_by: str = field(metadata=at(8, PERSON))

    def __post_init__(self) -> None:
        if any(list(names) != sorted(set(names)) for names in (self.roles, self.groups)):
            raise InvalidRecord("roles and groups of a user are in ascending order, each once")
        if self.act in ("made", "disabled", "enabled") and self.enabled != (self.act != "disabled"):
            raise InvalidRecord(f"the user of an act {self.act!r} is {'enabled' if self.enabled else 'disabled'} in its record")


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """Kind 53, right after the key.change that made or rotated a caller's key: for whom it is, and until when."""

    key: str = field(metadata=at(1, KEY_ID))
    user: str | None = field(metadata=at(2, maybe(PERSON)))
    """None for a key of the tenant as a whole."""
    expires: int | None = field(metadata=at(3, maybe(UINT)))
    """Microseconds since 1970-01-01 UTC."""
    requested_by: str = field(metadata=at(4, PERSON))


@dataclass(frozen=True, slots=True)
class PasskeyChange:
    """Kind 54: a user may sign with this passkey from now on, or no longer. Nobody enrols one for somebody else."""

    act: str = field(metadata=at(1, one_of("added", "removed")))
    user: UUID = field(metadata=at(2, UUID16))
    name: str = field(metadata=at(3, PERSON))
    credential: bytes = field(metadata=at(4, blob(1, CREDENTIAL_MOST)))
    public_key: bytes = field(metadata=at(5, blob(42, 77)))
    """COSE_Key, as `audit.passkeys` reads one."""
    rp_id: str = field(metadata=at(6, LABEL))
    """The host name that the passkey was made for."""
    label: str = field(metadata=at(7, LABEL))
    requested_by: str = field(metadata=at(8, PERSON))

    def __post_init__(self) -> None:
        require_key(self.public_key)
        if self.act == "added" and self.requested_by.removeprefix("system/") != self.name:
            raise InvalidRecord(f"{self.requested_by!r} cannot enrol a passkey of {self.name!r}")


@dataclass(frozen=True, slots=True)
class Anchored:
    """Kind 55, in the log of tenant `system`: so many records of the log `origin` had this root by then.

    So the trees of all logs stand in one: who keeps or has seen a checkpoint of that one holds the house to all of them.
    """

    origin: str = field(metadata=at(1, text(1024)))
    size: int = field(metadata=at(2, UINT))
    root: bytes = field(metadata=at(3, DIGEST))
    requested_by: str = field(metadata=at(4, PERSON))
    """No person: what the gateway does by the clock."""


Act: TypeAlias = (
    PolicyChange | KeyChange | Erasure | HoldPlaced | HoldReleased | RetentionRule
    | Retirement | Access | Export | SchemaChange | ErasureRefused | TenantMade | UserChange | KeyTerms
    | PasskeyChange | Anchored
)  # fmt: skip
