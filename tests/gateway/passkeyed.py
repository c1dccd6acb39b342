"""People of a house with passkeys, made and used as a browser at its own address would."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any

from msgspec import convert

from audit.passkeys import Assertion
from gateway.house import House
from gateway.people.ceremonies import NewKey, Place, place_of
from gateway.people.passkeys import added
from gateway.people.person import Person
from tests.audit.authenticator import Authenticator, sent
from tests.audit.writer_samples import TENANT
from tests.gateway.planted import PASSWORD


@dataclass
class Held:
    """A person's authenticator, at the address of a house."""

    place: Place
    key: Authenticator = field(default_factory=Authenticator)

    def sign(self, challenge: bytes, **said: Any) -> Assertion:
        """A signature as that page would ask for it."""
        return self.key.sign(challenge, **{"rp_id": self.place.rp_id, "origin": self.place.origin} | said)

    def sent(self, challenge: bytes, **said: Any) -> dict[str, str]:
        """The same as the page sends it."""
        return sent(self.sign(challenge, **said))

    def made(self, offer: str) -> dict[str, str]:
        """What is sent when a passkey was made for an offer."""
        return self.key.make(challenge_of(offer), rp_id=self.place.rp_id, origin=self.place.origin)


def challenge_of(offer: str) -> bytes:
    """What the browser is to have signed."""
    text = json.loads(offer)["challenge"]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def enrolled(house: House, name: str, key: Authenticator | None = None) -> Held:
    """A person of `acme` with one more passkey, on record."""
    place = place_of(house.settings)
    person = await asyncio.to_thread(house.directory.prover.prove, TENANT, name, PASSWORD)
    assert place is not None and isinstance(person, Person)
    held = Held(place, key or Authenticator())
    offer = await asyncio.to_thread(house.passkeys.offer, place, person, "laptop")
    new = await asyncio.to_thread(house.passkeys.accept, place, person, convert(held.made(offer), NewKey))
    await house.administration.make(TENANT, person, added(person, new))
    return held
