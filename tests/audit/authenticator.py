"""An authenticator in software: it makes a passkey and signs with it, truly or with one thing wrong."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.passkeys import Assertion, text_of

RP_ID, ORIGIN = "gate.example", "https://gate.example"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def p256(secret: int) -> ec.EllipticCurvePrivateKey:
    """A key of ES256 that is always the same."""
    return ec.derive_private_key(secret, ec.SECP256R1())


def cose_of(key: PrivateKey) -> bytes:
    """The public half as an authenticator spells it."""
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        return cbor2.dumps({1: 1, 3: -8, -1: 6, -2: public.public_bytes_raw()})
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})


@dataclass
class Authenticator:
    """One passkey; `count` goes on with each signature, unless it is None: then it says 0 for ever."""

    key: PrivateKey = field(default_factory=lambda: p256(7))
    credential: bytes = bytes(range(16))
    count: int | None = 0

    @property
    def public_key(self) -> bytes:
        """COSE_Key."""
        return cose_of(self.key)

    def sign(self, challenge: bytes, /, flags: int = PRESENT | VERIFIED, rp_id: str = RP_ID, **said: Any) -> Assertion:
        """What it gives for a challenge; `said` changes what the browser says around it."""
        if self.count is not None:
            self.count += 1
        data = self._data(flags, rp_id)
        client = _client("webauthn.get", challenge, said)
        signed = data + hashlib.sha256(client).digest()
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            signature = self.key.sign(signed, ec.ECDSA(SHA256()))
        else:
            signature = self.key.sign(signed)
        return Assertion(self.credential, self.public_key, data, client, signature)

    def make(self, challenge: bytes, /, flags: int = PRESENT | VERIFIED, rp_id: str = RP_ID, **said: Any) -> dict[str, str]:
        """What the browser gives for a passkey that was made, as the page's script sends it; `fmt` is another attestation."""
        fmt = said.pop("fmt", "none")
        sized = len(self.credential).to_bytes(2, "big") + self.credential
        data = self._data(flags | ATTESTED, rp_id) + bytes(range(16)) + sized + self.public_key
        attestation = cbor2.dumps({"fmt": fmt, "attStmt": {}, "authData": data})
        client = _client("webauthn.create", challenge, said)
        return {"id": text_of(self.credential), "client_data": text_of(client), "attestation": text_of(attestation)}

    def _data(self, flags: int, rp_id: str) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + bytes((flags,)) + (self.count or 0).to_bytes(4, "big")


def sent(assertion: Assertion) -> dict[str, str]:
    """An assertion as the page's script sends it."""
    return {
        "id": text_of(assertion.credential), "authenticator_data": text_of(assertion.authenticator_data),
        "client_data": text_of(assertion.client_data), "signature": text_of(assertion.signature),
    }  # fmt: skip


def _client(kind: str, challenge: bytes, said: dict[str, Any]) -> bytes:
    whole = {"type": kind, "challenge": text_of(challenge), "origin": ORIGIN, "crossOrigin": False} | said
    return json.dumps(whole, separators=(",", ":")).encode()
