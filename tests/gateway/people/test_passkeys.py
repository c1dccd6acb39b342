"""Passkeys of people: how one is enrolled, whose it is, and what proves somebody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from msgspec import convert

from audit.acts import PasskeyChange
from audit.passkeys import Assertion
from gateway.people import passkeys as rules
from gateway.people import users
from gateway.people.ceremonies import NewKey, PasskeySignature, Place, place_of
from gateway.people.names import Role
from gateway.people.passkeys import MOST, Passkeys, added, removed, withdrawn
from gateway.people.person import Account, Asserted, Person
from gateway.people.proving import NotProved
from gateway.people.throttle import FREE, Door
from gateway.registry import RegistryError
from gateway.settings import DatabaseUrl, Settings
from tests.audit.authenticator import ORIGIN, PRESENT, RP_ID, Authenticator, p256, sent
from tests.gateway.passkeyed import challenge_of
from tests.gateway.people.office import Office
from tests.gateway.planted import PASSWORD, plant_user

PLACE = Place(RP_ID, ORIGIN)
BINDING = bytes(range(32))
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def passkeys(office: Office) -> Iterator[Passkeys]:
    """Those of the office's people: `ada` and `grace`."""
    for name in ("ada", "grace"):
        plant_user(office.database.app_url, "acme", name, Role.APPROVER)
    made = Passkeys(DatabaseUrl(office.database.app_url))
    yield made
    made.close()


def answered(passkeys: Passkeys, person: Person, key: Authenticator, **said: Any) -> rules.NewPasskey:
    """An authenticator's answer to an offer of its own, as it was taken in."""
    challenge = said.pop("challenge", None) or challenge_of(passkeys.offer(PLACE, person, "laptop"))
    return passkeys.accept(PLACE, person, convert(key.make(challenge, **said), NewKey))


async def enrolled(office: Office, passkeys: Passkeys, name: str, key: Authenticator) -> Person:
    """A person with a passkey."""
    person = office.prove(name)
    await office.make(added(person, answered(passkeys, person, key)), person)
    return person


def proof(passkeys: Passkeys, person: Person, assertion: Assertion, binding: bytes = BINDING) -> Asserted | NotProved:
    """What an assertion proves."""
    return passkeys.prove(PLACE, person, convert(sent(assertion), PasskeySignature), binding)


@pytest.mark.parametrize("key", [p256(7), ED25519], ids=["es256", "eddsa"])
async def test_what_comes_and_goes_is_on_record(office: Office, passkeys: Passkeys, key: Any) -> None:
    """A passkey that is added signs, its owner sees it; a removed one signs nothing; both are acts with its public key."""
    passkey = Authenticator(key)
    ada = await enrolled(office, passkeys, "ada", passkey)
    found = proof(passkeys, ada, passkey.sign(BINDING))
    assert isinstance(found, Asserted) and (found.person.name, found.challenge) == ("ada", BINDING)
    (line,) = passkeys.of(ada.id)
    assert (line.label, line.credential, line.rp_id) == ("laptop", passkey.credential, RP_ID) and line.used_at is not None
    await office.make(removed(ada, line.id), ada)
    assert passkeys.of(ada.id) == () and isinstance(proof(passkeys, ada, passkey.sign(BINDING)), NotProved)
    told = (ada.id, "ada", passkey.credential, passkey.public_key, RP_ID, "laptop", "ada")
    assert office.acts() == [PasskeyChange("added", *told), PasskeyChange("removed", *told)]


async def test_an_offer_says_what_is_asked_for(office: Office, passkeys: Passkeys) -> None:
    """It asks for ES256 or EdDSA, for the person to be verified, for no attestation, and not for one that is there already."""
    ada = await enrolled(office, passkeys, "ada", Authenticator())
    offer = json.loads(passkeys.offer(PLACE, ada, "phone"))
    assert [each["alg"] for each in offer["pubKeyCredParams"]] == [-7, -8]
    assert (offer["rp"]["id"], offer["attestation"]) == (RP_ID, "none")
    assert offer["authenticatorSelection"]["userVerification"] == "required"
    assert [each["id"] for each in offer["excludeCredentials"]] == ["AAECAwQFBgcICQoLDA0ODw"]
    assert len(challenge_of(json.dumps(offer))) == 32


WRONG: tuple[tuple[Authenticator, dict[str, Any]], ...] = (
    (Authenticator(), {"challenge": bytes(32)}), (Authenticator(), {"origin": "https://evil.example"}),
    (Authenticator(), {"origin": f"{ORIGIN}:8443"}), (Authenticator(), {"rp_id": "evil.example"}),
    (Authenticator(), {"flags": PRESENT}), (Authenticator(), {"flags": 0x04}), (Authenticator(), {"type": "webauthn.get"}),
    (Authenticator(), {"fmt": "packed"}), (Authenticator(), {"fmt": "tpm"}), (Authenticator(), {"fmt": "new"}),
    (Authenticator(ec.derive_private_key(7, ec.SECP384R1())), {}),
)  # fmt: skip


def test_what_is_no_new_passkey_is_refused(office: Office, passkeys: Passkeys) -> None:
    """Another challenge, page, host, ceremony, attestation or kind of key, or nobody verified: refused in one sentence."""
    ada = office.prove("ada")
    for key, said in WRONG:
        passkeys.offer(PLACE, ada, "laptop")  # there is one, also where it is not what is answered
        with pytest.raises(RegistryError, match="not a passkey that can be used here"):
            answered(passkeys, ada, key, **said)
    for broken in ({"attestation": "AAAA"}, {"client_data": "e30"}, {"id": "AAAA"}, {"id": "AAECAwQFBgcICQoLDA0ODw=="}):
        challenge = challenge_of(passkeys.offer(PLACE, ada, "laptop"))
        with pytest.raises(RegistryError, match="not a passkey"):
            passkeys.accept(PLACE, ada, convert(Authenticator().make(challenge) | broken, NewKey))


def test_an_offer_is_answered_once_and_in_time(office: Office, passkeys: Passkeys) -> None:
    """A second answer, one after five minutes and one of another person find no offer; a new offer replaces the last."""
    ada, grace, key = office.prove("ada"), office.prove("grace"), Authenticator()
    first = challenge_of(passkeys.offer(PLACE, ada, "laptop"))
    second = challenge_of(passkeys.offer(PLACE, ada, "laptop"))
    with pytest.raises(RegistryError, match="no passkey is being made"):
        answered(passkeys, grace, key, challenge=second)
    with pytest.raises(RegistryError, match="not a passkey"):
        answered(passkeys, ada, key, challenge=first)
    with pytest.raises(RegistryError, match="no passkey is being made"):
        answered(passkeys, ada, key, challenge=second)
    late = challenge_of(passkeys.offer(PLACE, ada, "laptop"))
    office.sql("UPDATE app.passkey_offer SET made_at = made_at - interval '301 seconds'")
    with pytest.raises(RegistryError, match="took too long"):
        answered(passkeys, ada, key, challenge=late)


async def refused(office: Office, decide: Any, by: Any, why: str) -> None:
    """The change is refused for this reason and leaves nothing."""
    before = office.acts()
    with pytest.raises(RegistryError, match=why):
        await office.make(decide, by)
    assert office.acts() == before and office.sql("SELECT * FROM app.staged_change") == []


async def test_passkeys_are_their_owners_alone(office: Office, passkeys: Passkeys) -> None:
    """Nobody adds or removes another's, with a password of before, twice, for two people, or beyond the limit."""
    key = Authenticator()
    ada, grace = await enrolled(office, passkeys, "ada", key), office.prove("grace")
    (line,) = passkeys.of(ada.id)
    other = answered(passkeys, grace, Authenticator(p256(8), b"other"))
    for by in (grace, Account("account root")):
        await refused(office, removed(ada, line.id), by, "was changed meanwhile")
        await refused(office, added(ada, other), by, "was changed meanwhile")
    await refused(office, removed(grace, line.id), grace, "no such passkey")
    await refused(office, removed(ada, uuid4()), ada, "no such passkey")
    for person in (ada, grace):
        await refused(office, added(person, answered(passkeys, person, key)), person, "enrolled already")
    for number in range(1, MOST):
        await enrolled(office, passkeys, "ada", Authenticator(p256(8), bytes((number,))))
    await refused(office, added(ada, replace(other, label="one more")), ada, "at most 10 passkeys")
    await office.make(users.new_password("acme", "ada", office.directory.passwords.hash(b"another password")), ada)
    await refused(office, removed(ada, line.id), ada, "was changed meanwhile")


async def test_an_operator_removes_what_somebody_lost(office: Office, passkeys: Passkeys) -> None:
    """An operator removes another's passkey, which then proves nobody; no one else does, and nobody their own that way."""
    key = Authenticator()
    ada, grace = await enrolled(office, passkeys, "ada", key), office.prove("grace")
    (line,) = passkeys.of(ada.id)
    plant_user(office.database.app_url, "acme", "omar", Role.OPERATOR)
    omar = await enrolled(office, passkeys, "omar", Authenticator(p256(8), b"omar"))
    (own,) = passkeys.of(omar.id)
    for by in (grace, ada):
        await refused(office, withdrawn("acme", "ada", line.id), by, "is no operator")
    await refused(office, withdrawn("acme", "omar", own.id), omar, "on your account page")
    await refused(office, withdrawn("acme", "grace", line.id), omar, "no such passkey")
    await office.make(withdrawn("acme", "ada", line.id), omar)
    assert passkeys.of(ada.id) == () and isinstance(proof(passkeys, ada, key.sign(BINDING)), NotProved)
    told = ("ada", key.credential, key.public_key, RP_ID, "laptop", "omar")
    assert office.acts()[-1] == PasskeyChange("removed", ada.id, *told)


@pytest.mark.parametrize("label", ["", " x", "two\nlines", "x" * 65])
def test_a_label_is_one_line(office: Office, passkeys: Passkeys, label: str) -> None:
    """A passkey has a name that a page can show."""
    with pytest.raises(RegistryError, match="one line"):
        passkeys.offer(PLACE, office.prove("ada"), label)


async def test_what_proves_nobody(office: Office, passkeys: Passkeys) -> None:
    """Another binding, page, host or key, another person's passkey, and each changed part: the answer of a wrong password."""
    key, hers = Authenticator(), Authenticator(p256(8), b"hers")
    ada, grace = await enrolled(office, passkeys, "ada", key), await enrolled(office, passkeys, "grace", hers)
    good = key.sign(BINDING)
    signed_by_her = hers.sign(BINDING)
    tampered = [
        replace(good, **{name: getattr(good, name)[:-1] + bytes((getattr(good, name)[-1] ^ 1,))})
        for name in ("authenticator_data", "client_data", "signature", "credential")
    ]
    wrong = (
        *tampered, key.sign(bytes(32)), key.sign(BINDING, origin="https://evil.example"),
        key.sign(BINDING, rp_id="evil.example"),
        key.sign(BINDING, origin="https://below.gate.example"), key.sign(BINDING, flags=PRESENT),
        key.sign(BINDING, type="webauthn.create"), key.sign(BINDING, crossOrigin=True),
        signed_by_her, replace(signed_by_her, credential=key.credential), Authenticator(p256(9)).sign(BINDING),
    )  # fmt: skip
    for assertion in wrong:
        forget(office)
        assert proof(passkeys, ada, assertion) == NotProved()
    forget(office)
    assert proof(passkeys, grace, good) == NotProved()
    assert proof(passkeys, ada, good, bytes(32)) == NotProved()
    assert isinstance(proof(passkeys, ada, key.sign(BINDING)), Asserted)


def forget(office: Office) -> None:
    """A day goes by for the throttle."""
    office.sql("DELETE FROM app.attempt")


async def test_a_counter_goes_on(office: Office, passkeys: Passkeys) -> None:
    """A count that stands or goes back is a copy's and is refused; one that does not count at all may sign again and again."""
    key, quiet = Authenticator(count=41), Authenticator(p256(8), b"quiet", count=None)
    ada = await enrolled(office, passkeys, "ada", key)
    await enrolled(office, passkeys, "ada", quiet)
    first = key.sign(BINDING)
    assert isinstance(proof(passkeys, ada, first), Asserted)
    assert proof(passkeys, ada, first) == NotProved()
    key.count = 7
    assert proof(passkeys, ada, key.sign(BINDING)) == NotProved()
    key.count = None
    assert proof(passkeys, ada, key.sign(BINDING)) == NotProved()
    forget(office)
    key.count = 42
    assert isinstance(proof(passkeys, ada, key.sign(BINDING)), Asserted)
    for _ in range(2):
        assert isinstance(proof(passkeys, ada, quiet.sign(BINDING)), Asserted)


async def test_attempts_are_counted_with_those_of_the_password(office: Office, passkeys: Passkeys) -> None:
    """Too many in vain rest the name for passkey and password alike; the right one clears it; the disabled prove nothing."""
    key = Authenticator()
    ada = await enrolled(office, passkeys, "ada", key)
    for _ in range(FREE - 1):
        assert proof(passkeys, ada, key.sign(bytes(32))) == NotProved()
    assert isinstance(proof(passkeys, ada, key.sign(BINDING)), Asserted)
    for _ in range(FREE):
        assert proof(passkeys, ada, key.sign(bytes(32))) == NotProved()
    for found in (proof(passkeys, ada, key.sign(BINDING)), office.directory.prover.prove("acme", "ada", PASSWORD, Door.INSIDE)):
        assert isinstance(found, NotProved) and found.wait > 0
    forget(office)
    office.sql("UPDATE app.user_account SET disabled_at = now() WHERE name = 'ada'")
    assert proof(passkeys, ada, key.sign(BINDING)) == NotProved()


def test_nobody_asserts_by_being_named(office: Office, passkeys: Passkeys) -> None:
    """An Asserted is made where a signature was verified and nowhere else."""
    with pytest.raises(TypeError):
        Asserted(office.prove("ada"), BINDING, Authenticator().sign(BINDING), object())


PLACES = (
    ({"BASE_URL": "https://Gate.Example/"}, Place("gate.example", "https://gate.example")),
    ({"BASE_URL": "https://gate.example:443/x"}, Place("gate.example", "https://gate.example")),
    ({"BASE_URL": "https://gate.example:8443"}, Place("gate.example", "https://gate.example:8443")),
    ({"BASE_URL": "http://gate.example"}, None), ({"BASE_URL": "https://192.0.2.7"}, None),
    ({"BASE_URL": "https://[2001:db8::7]:1"}, None), ({"BASE_URL": "http://localhost:80"}, Place("localhost", "http://localhost")),
    ({"PORT": "8123"}, Place("localhost", "http://localhost:8123")),
)  # fmt: skip


@pytest.mark.parametrize(("given", "place"), PLACES, ids=str)
def test_the_place_is_what_people_type(given: dict[str, str], place: Place | None) -> None:
    """Host and origin are those of the public address, as a browser spells them; where it makes no passkeys there are none."""
    assert place_of(Settings.read({f"PALIMPSEST_{name}": text for name, text in given.items()})) == place
