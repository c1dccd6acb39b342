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


class TextKey:
    """The key of one month key's texts."""

    __slots__ = ("_key",)

    def __init__(self, secret: MonthSecret) -> None:
        self._key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(secret)

    def hmac(self, digest: bytes) -> bytes:
        """32 bytes for a text's SHA-256."""
        return hmac.digest(self._key, digest, "sha256")


class TextKeys:
    """The keys of every text of this installation, each made once and forgotten with its month key. Blocking."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._made: dict[str, dict[str, TextKey]] = {}

    def every_hmac(self, tenant: str, digest: bytes) -> list[bytes]:
        """What a text of the tenant would be filed under, for each of its month keys that is still here."""
        made, here = self._made.get(tenant, {}), self._keys.secrets_of(tenant)
        self._made[tenant] = {key.key_id: made.get(key.key_id) or TextKey(key.secret) for key in here}
        return [key.hmac(digest) for key in self._made[tenant].values()]
