"""DSSE envelopes (secure-systems-lab/dsse v1) under the log's own Ed25519 key.

What is signed starts with `DSSEv1 `, which no checkpoint can (an origin has no space), so neither kind of signature can
pass for the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import bundle
from audit.durable import read_secret
from audit.note import Scheme, VerifierKey
from audit.signer import ED25519_FILE, signer_folder


@dataclass(frozen=True, slots=True)
class Attester:
    """The key of a log as a signer of envelopes: `sign` gives the Ed25519 signature (64 bytes) of a message."""

    key: VerifierKey
    sign: Callable[[bytes], bytes]

    @classmethod
    def of(cls, origin: str, key: Ed25519PrivateKey) -> Attester:
        """The attester of a private key that signs under `origin`."""
        return cls(VerifierKey(origin, Scheme.ED25519, key.public_key().public_bytes_raw()), key.sign)

    @classmethod
    def of_log(cls, keys: Path, origin: str) -> Attester:
        """The attester of the log `origin`, whose signer lives in the keys folder; raises KeyUnavailable."""
        return cls.of(origin, Ed25519PrivateKey.from_private_bytes(read_secret(signer_folder(keys, origin) / ED25519_FILE)))

    @property
    def key_id(self) -> str:
        """`name+hash`, the verifier key without its last part."""
        return f"{self.key.name}+{self.key.key_id.hex()}"

    def envelope(self, payload_type: str, payload: bytes) -> bytes:
        """The signed envelope as JSON."""
        signature = bundle.encode_bytes(self.sign(authenticated(payload_type, payload)))
        return bundle.json_line(
            {
                "payload": bundle.encode_bytes(payload),
                "payloadType": payload_type,
                "signatures": [{"keyid": self.key_id, "sig": signature}],
            }
        )


def authenticated(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: type and payload, each after its length, so that neither can be read as the other."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
