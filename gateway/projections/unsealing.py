"""Opening the bodies of one portion, or one reading: each month key is read once, and each request's own key made once.

Nothing of it outlives its portion, so a key that is destroyed is at most a portion's time in memory; the record of its erasure
stands in the log before that, and takes what was made with it.
"""

from __future__ import annotations

from uuid import UUID

from audit.errors import AuditError
from audit.header import Header
from audit.keys import KeyStore
from audit.records import Body, decode_body
from audit.sealing import Box, MonthSecret, request_key
from gateway.projections.text_key import TextKey


class Unsealer:
    """Keys of one portion. Blocking."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._secrets: dict[str, MonthSecret | None] = {}
        self._boxes: dict[tuple[str, UUID], Box] = {}
        self._texts: dict[str, TextKey] = {}

    def body(self, header: Header, sealed: bytes | None) -> Body | None:
        """The body of a record, None if it is gone or can no longer be read."""
        if sealed is None:
            return None
        try:
            box = self._box(header)
            if box is None:
                return None
            return decode_body(header.kind, header.schema, box.unseal(header.tenant, header.record, sealed))
        except AuditError:
            return None

    def text_hmac(self, key_id: str, digest: bytes) -> bytes | None:
        """The keyed hash of a text's SHA-256; None without the key."""
        if key_id not in self._texts:
            secret = self._secret(key_id)
            if secret is None:
                return None
            self._texts[key_id] = TextKey(secret)
        return self._texts[key_id].hmac(digest)

    def _box(self, header: Header) -> Box | None:
        name = (header.key_id, header.scope)
        if name not in self._boxes:
            secret = self._secret(header.key_id)
            if secret is None:
                return None
            self._boxes[name] = Box(request_key(secret, header.scope))
        return self._boxes[name]

    def _secret(self, key_id: str) -> MonthSecret | None:
        if key_id not in self._secrets:
            try:
                self._secrets[key_id] = self._keys.find(key_id).secret
            except AuditError:
                self._secrets[key_id] = None
        return self._secrets[key_id]
