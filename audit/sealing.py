"""Sealing of bodies: AES-256-GCM under a key that exists per request, bound to tenant and record id.

A sealed body is nonce (12 random bytes) || ciphertext || tag (16). Destroying the month key makes every body
of that tenant, subject and month unreadable while its hash, and so every proof, stays true. Disclosing a
request key opens that request and no other.
"""

import os
from typing import NewType
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from audit.errors import SealBroken

MonthSecret = NewType("MonthSecret", bytes)
"""32 random bytes of one tenant, subject and month; lives only in the key store."""
RequestKey = NewType("RequestKey", bytes)
"""32 derived bytes that open the bodies of one request; may be disclosed in an export."""

NONCE_BYTES = 12
_KEY_BYTES = 32
OVERHEAD = NONCE_BYTES + 16
_INFO = b"palimpsest/body-key/1\x00"


def request_key(secret: MonthSecret, scope: UUID) -> RequestKey:
    """HKDF-SHA256 (RFC 5869), no salt, info = label || scope; scope is `Header.scope`."""
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO + scope.bytes)
    return RequestKey(derive.derive(secret))


def associated_data(tenant: str, record: UUID) -> bytes:
    """What a body is bound to: UTF-8 of the tenant followed by the 16 bytes of the record id."""
    return tenant.encode() + record.bytes


class Box:
    """One request's key, set up once for all its bodies."""

    __slots__ = ("_cipher",)

    def __init__(self, key: RequestKey) -> None:
        if len(key) != _KEY_BYTES:
            raise SealBroken(f"a request key has {_KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(key)

    def seal(self, tenant: str, record: UUID, plaintext: bytes, nonce: bytes) -> bytes:
        """Encrypt one body; `nonce` is 12 random bytes that were never used before and never will be."""
        return nonce + self._cipher.encrypt(nonce, plaintext, associated_data(tenant, record))

    def unseal(self, tenant: str, record: UUID, sealed: bytes) -> bytes:
        """Decrypt one body; raises SealBroken if key, tenant, record id or a single byte is another."""
        if len(sealed) < OVERHEAD:
            raise SealBroken(f"a sealed body has at least {OVERHEAD} bytes, not {len(sealed)}")
        try:
            nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
            return self._cipher.decrypt(nonce, rest, associated_data(tenant, record))
        except (InvalidTag, ValueError) as error:
            raise SealBroken(f"the body of record {record} does not open under this key") from error


def seal(key: RequestKey, tenant: str, record: UUID, plaintext: bytes) -> bytes:
    """The same with a key that is used once; two calls never give the same bytes."""
    return Box(key).seal(tenant, record, plaintext, os.urandom(NONCE_BYTES))


def unseal(key: RequestKey, tenant: str, record: UUID, sealed: bytes) -> bytes:
    """The same with a key that is used once."""
    return Box(key).unseal(tenant, record, sealed)
