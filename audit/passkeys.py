"""Signatures of passkeys (WebAuthn) as records hold them, and what must be true of one. No browser, no network.

The evidence of a decision is base64url, without padding, of the CBOR map of an `Assertion`. Two kinds of keys are known, each
in the one spelling of COSE that CTAP2 permits: ES256 over P-256, 77 bytes, and EdDSA over Ed25519, 42 bytes. Everything that
is not exactly so is refused. The gateway asks before it records, the verifier afterwards.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256

from audit import cbor
from audit.errors import InvalidRecord, MalformedData
from audit.forms import at, blob, unpack, write

CREDENTIAL_MOST: Final = 1023
"""Bytes of a credential's id, as WebAuthn limits it."""
EVIDENCE_MOST: Final = 4096
_PRESENT, _VERIFIED = 0x01, 0x04
_P256_X, _P256_Y = bytes.fromhex("a5010203262001215820"), bytes.fromhex("225820")
_ED25519_X: Final = bytes.fromhex("a4010103272006215820")
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator signed, with which key. Authenticator data and client data are to the letter as it gave them."""

    credential: bytes = field(metadata=at(1, blob(1, CREDENTIAL_MOST)))
    public_key: bytes = field(metadata=at(2, blob(42, 77)))
    authenticator_data: bytes = field(metadata=at(3, blob(37, 512)))
    client_data: bytes = field(metadata=at(4, blob(1, 1024)))
    signature: bytes = field(metadata=at(5, blob(8, 72)))

    @property
    def signed(self) -> bytes:
        """The bytes under the signature."""
        return self.authenticator_data + hashlib.sha256(self.client_data).digest()

    @property
    def statement(self) -> bytes:
        """A digest of what was said and with which key; the same again, however it is signed, is no second signature."""
        return hashlib.sha256(self.public_key + self.signed).digest()

    @property
    def sign_count(self) -> int:
        """How often the authenticator says that it has signed; 0 for one that does not count."""
        return int.from_bytes(self.authenticator_data[33:37], "big")


def write_evidence(assertion: Assertion) -> str:
    """The text of a record. Raises InvalidRecord for what is out of bounds."""
    return text_of(write(assertion))


def read_evidence(evidence: str) -> Assertion:
    """The assertion of a record's text. Raises MalformedData for any other text than the one that says it."""
    return unpack(Assertion, cbor.decode(bytes_of(evidence, EVIDENCE_MOST)))


def text_of(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def bytes_of(text: str, most: int) -> bytes:
    """The bytes of base64url without padding, at most so many characters of it. Raises MalformedData."""
    if len(text) > most or not text.isascii():
        raise MalformedData(f"expected base64url of at most {most} characters")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise MalformedData("expected base64url without padding") from error
    if text_of(data) != text:
        raise MalformedData("expected base64url without padding")
    return data


def public_key_of(cose: bytes) -> PublicKey:
    """The key of a COSE_Key. Raises MalformedData for any other kind or spelling."""
    try:
        if len(cose) == 77 and cose[:10] == _P256_X and cose[42:45] == _P256_Y:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + cose[10:42] + cose[45:])
        if len(cose) == 42 and cose[:10] == _ED25519_X:
            return ed25519.Ed25519PublicKey.from_public_bytes(cose[10:])
    except ValueError as error:
        raise MalformedData("the public key is no point of its curve") from error
    raise MalformedData("a passkey's public key is ES256 over P-256 or EdDSA over Ed25519, in COSE as CTAP2 spells it")


def require_key(cose: bytes) -> None:
    """Raise InvalidRecord for what is no such key."""
    try:
        public_key_of(cose)
    except MalformedData as error:
        raise InvalidRecord(str(error)) from error


def assertion_faults(assertion: Assertion, challenge: bytes) -> Iterator[str]:
    """What is wrong with an assertion that should answer this challenge; of the host it says only that one name is meant."""
    flags = assertion.authenticator_data[32]
    if not flags & _PRESENT or not flags & _VERIFIED:
        yield "its passkey did not make sure who was there"
    yield from _client_faults(assertion, challenge)
    if not _verifies(assertion):
        yield "the signature of its passkey does not verify under the public key that it names"


def is_for(assertion: Assertion, rp_id: str) -> bool:
    """Whether the passkey was asked by this host."""
    return hmac.compare_digest(assertion.authenticator_data[:32], hashlib.sha256(rp_id.encode()).digest())


def _client_faults(assertion: Assertion, challenge: bytes) -> Iterator[str]:
    try:
        said: Any = json.loads(assertion.client_data)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        yield "the client data of its passkey are no JSON object"
        return
    if said.get("type") != "webauthn.get" or said.get("crossOrigin", False) is not False:
        yield "its passkey was not asked for a signature by the page itself"
    if said.get("challenge") != text_of(challenge):
        yield "its passkey signed another challenge than the binding"
    if not any(is_for(assertion, name) for name in _names(said.get("origin"))):
        yield "its passkey was asked by a page of another host than its own"


def _names(origin: Any) -> Iterator[str]:
    """The host of an origin and the names above it."""
    try:
        host = urlsplit(origin).hostname if isinstance(origin, str) else None
    except ValueError:
        host = None
    while host:
        yield host
        _, _, host = host.partition(".")


def _verifies(assertion: Assertion) -> bool:
    try:
        key = public_key_of(assertion.public_key)
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(assertion.signature, assertion.signed, ec.ECDSA(SHA256()))
        else:
            key.verify(assertion.signature, assertion.signed)
    except (MalformedData, InvalidSignature):
        return False
    return True
