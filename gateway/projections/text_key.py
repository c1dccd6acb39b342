"""A keyed hash of a text, by which whoever has the text finds the answer that it was, and nobody else learns anything.

HMAC-SHA-256 over the text's SHA-256, under a key that HKDF (RFC 5869) derives from the month key of the subject: with the month
key it goes too, so a table of such values tells nothing of an erased subject.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from audit.keys import KeyStore
from audit.sealing import MonthSecret

_INFO: Final = b"palimpsest/text-search/1\x00"


def text_digest(text: str) -> bytes:
    """What of a text is looked for: the SHA-256 of its UTF-8, as delivery records have it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def text_hmac(secret: MonthSecret, digest: bytes) -> bytes:
    """32 bytes for a text's SHA-256 under one month key."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(secret)
    return hmac.digest(key, digest, "sha256")


def every_hmac(keys: KeyStore, tenant: str, digest: bytes) -> list[bytes]:
    """What a text of the tenant would be filed under, for each of its month keys that is still here. Blocking."""
    return [text_hmac(key.secret, digest) for key in keys.secrets_of(tenant)]
