"""Whose passkeys are whose, by the records of one log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from audit.acts import PasskeyChange
from audit.delegations import GRACE
from audit.passkeys import Assertion, is_for


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A passkey, and from when until when it was its owner's; `until` is None as long as it is. Microseconds since 1970."""

    passkey: PasskeyChange
    since: int
    until: int | None = None


@dataclass(slots=True)
class Enrolments:
    """Passkeys of one tenant, folded in order of seq. `unread` counts the records that are not disclosed here."""

    known: dict[tuple[str, bytes], Enrolment] = field(default_factory=dict)
    unread: int = 0

    def add(self, ts: int, body: PasskeyChange | None) -> Iterator[str]:
        """Take in the next record; yields what contradicts the ones before."""
        if body is None:
            self.unread += 1
            return
        place = body.name, body.credential
        last = self.known.get(place)
        holds = last is not None and last.until is None
        if body.act == "added":
            if holds:
                yield f"it adds a passkey of {body.name!r} that is there already"
            self.known[place] = Enrolment(body, ts)
        elif last is None or not holds:
            if not self.unread:
                yield f"it removes a passkey of {body.name!r} that is not there"
        else:
            self.known[place] = replace(last, until=ts)

    def enrolled(self, person: str, assertion: Assertion, ts: int) -> bool | None:
        """Whether the person's passkey was enrolled at a time; None where these records cannot say.

        People of `system` enrol in that tenant's own log.
        """
        found = self.known.get((person, assertion.credential))
        if found is not None and found.since <= ts and (found.until is None or ts < found.until + GRACE):
            return found.passkey.public_key == assertion.public_key and is_for(assertion, found.passkey.rp_id)
        return None if self.unread or "/" in person else False
