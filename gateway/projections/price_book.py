"""The prices that a request was made under, by the digest of its policy."""

from __future__ import annotations

from sqlalchemy import Engine, select

import policies
from gateway.law.shelf import PolicyVersion


class PriceBook:
    """Prices of the shipped policy and of all that records put in force; each document is read once. Blocking."""

    def __init__(self, engine: Engine, shipped: policies.Policy) -> None:
        self._engine = engine
        self._known: dict[tuple[str, bytes], policies.Prices] = {}
        self._shipped = {bytes(shipped.digest): shipped.document.prices}

    def of(self, tenant: str, digest: bytes) -> policies.Prices | None:
        """The prices of a policy; None for one that no record put in force, or that this release cannot read."""
        if digest in self._shipped:
            return self._shipped[digest]
        if (tenant, digest) not in self._known:
            prices = self._read(tenant, digest)
            if prices is None:
                return None
            self._known[tenant, digest] = prices
        return self._known[tenant, digest]

    def _read(self, tenant: str, digest: bytes) -> policies.Prices | None:
        found = select(PolicyVersion.document).where(PolicyVersion.tenant == tenant, PolicyVersion.digest == digest)
        with self._engine.connect() as connection:
            text = connection.scalar(found)
        try:
            return None if text is None else policies.restored(digest.hex()[:16], text).document.prices
        except policies.PolicyError:
            return None
