"""The law says no: what the client hears of it, and the record that it leaves."""

from __future__ import annotations

from typing import Final

import policies
from gateway.errors import Refused
from gateway.law.record import decided

RETRIED_WITHIN: Final = 60
"""Seconds that clients are known to wait at most before they ask again."""


class Forbidden(Refused):
    """The law says no, of these facts."""

    def __init__(self, refusal: policies.Refusal, facts: policies.RequestFacts) -> None:
        super().__init__(refusal.reason, status=refusal.status, code=refusal.code.value)
        self.record = decided(facts, refusal)


class NoRoom(Forbidden):
    """A budget has no room for the request; `retry_seconds` is None where waiting cannot help."""

    kind = "rate_limit_error"

    def __init__(self, refusal: policies.Refusal, facts: policies.RequestFacts, retry_seconds: int | None) -> None:
        super().__init__(refusal, facts)
        self.retry_seconds = retry_seconds

    def headers(self) -> dict[str, str]:
        """When to come back. Clients repeat a 429 within seconds, so one that would come too early is told not to."""
        if self.retry_seconds is None:
            return super().headers()
        late = super().headers() if self.retry_seconds > RETRIED_WITHIN else {}
        return {"retry-after": str(self.retry_seconds)} | late
