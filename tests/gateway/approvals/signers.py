"""People of the bureau who have a passkey, and whatever they have signed with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from msgspec import convert

from gateway.administration import Administration
from gateway.people.ceremonies import NewKey, PasskeySignature, Place
from gateway.people.passkeys import Passkeys, added
from gateway.people.person import Asserted
from gateway.settings import DatabaseUrl
from tests.audit.authenticator import ORIGIN, RP_ID, Authenticator, p256, sent
from tests.audit.writer_samples import TENANT
from tests.gateway.approvals.bureau import Bureau
from tests.gateway.passkeyed import challenge_of
from tests.gateway.people.office import urls_of

_PLACE = Place(RP_ID, ORIGIN)


@dataclass
class Signers:
    """Enrolled with the real ceremonies. Their authenticators count nothing, so what was signed once verifies for ever."""

    passkeys: Passkeys
    desk: Bureau
    keys: dict[str, Authenticator] = field(default_factory=dict)
    signed: dict[str, list[Asserted]] = field(default_factory=dict)

    async def enrol(self, *names: str) -> None:
        """Each makes a passkey, on record."""
        administration = Administration(self.desk.writer, urls_of(self.desk.log.database), self.desk.log.keys)
        for number, name in enumerate(names):
            person, key = self.desk.people[name], Authenticator(p256(7 + number), bytes((number,)), count=None)
            challenge = challenge_of(self.passkeys.offer(_PLACE, person, "laptop"))
            new = self.passkeys.accept(_PLACE, person, convert(key.make(challenge), NewKey))
            await administration.make(TENANT, person, added(person, new))
            self.keys[name], self.signed[name] = key, []

    async def sign(self, name: str, binding: bytes) -> Asserted:
        """The person signs a cycle; verified as a page would have it verified."""
        answer = convert(sent(self.keys[name].sign(binding)), PasskeySignature)
        found = await asyncio.to_thread(self.passkeys.prove, _PLACE, self.desk.people[name], answer, binding)
        assert isinstance(found, Asserted)
        self.signed[name].append(found)
        return found


async def signers(desk: Bureau, *names: str) -> Signers:
    """Those people, with a passkey each."""
    made = Signers(Passkeys(DatabaseUrl(desk.log.database.app_url)), desk)
    await made.enrol(*names)
    return made
