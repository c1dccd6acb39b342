"""The two ceremonies of WebAuthn on the server's side, by Duo's library: a passkey is made, and a passkey signs.

No attestation is asked for: who made the authenticator is not what an approval rests on. That the person was verified (by a
finger, a face or a PIN) always is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Final
from urllib.parse import urlsplit

import webauthn
from cryptography.exceptions import InvalidSignature
from msgspec import Meta, Struct
from webauthn.helpers import parse_attestation_object
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AttestationFormat,
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    RegistrationCredential,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from audit.errors import AuditError, MalformedData
from audit.passkeys import Assertion, assertion_faults, bytes_of, is_for, public_key_of, text_of
from gateway.people.person import Person
from gateway.settings import Settings

KINDS: Final = [COSEAlgorithmIdentifier.ECDSA_SHA_256, COSEAlgorithmIdentifier.EDDSA]
"""Those that the offline verifier reads."""
FORMATS: Final = frozenset({AttestationFormat.NONE, AttestationFormat.PACKED})
_PATIENCE_MS: Final = 120_000
_PORTS: Final = {"https": 443, "http": 80}
_UNREADABLE: Final = (
    WebAuthnException, InvalidSignature, AuditError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    RecursionError,
)  # fmt: skip
"""What the library and what it stands on raise about bytes from outside."""


class Refused(Exception):
    """This is no answer to what was asked; says nothing more to whoever sent it."""


@dataclass(frozen=True, slots=True)
class Place:
    """What passkeys are made for: a host name, and the origin of the pages there."""

    rp_id: str
    origin: str


def place_of(settings: Settings) -> Place | None:
    """By the address that people use; None where browsers make no passkeys: for an IP address, or plain http from elsewhere."""
    parts = urlsplit(settings.base_url or f"http://localhost:{settings.port}")
    host, port = parts.hostname or "", parts.port
    if _is_address(host) or (parts.scheme != "https" and host != "localhost"):
        return None
    shown = "" if port in (None, _PORTS[parts.scheme]) else f":{port}"
    return Place(host, f"{parts.scheme}://{host}{shown}")


class PasskeySignature(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a passkey gave: the fields of an AuthenticatorAssertionResponse and the credential's id, in base64url."""

    id: Annotated[str, Meta(min_length=1, max_length=1364)]
    authenticator_data: Annotated[str, Meta(min_length=1, max_length=683)]
    client_data: Annotated[str, Meta(min_length=1, max_length=1366)]
    signature: Annotated[str, Meta(min_length=1, max_length=96)]

    @property
    def credential(self) -> bytes:
        """Which passkey it says it is. Raises MalformedData."""
        return bytes_of(self.id, 1364)

    def under(self, public_key: bytes) -> Assertion:
        """The same as records have it. Raises MalformedData."""
        data, client, signature = (bytes_of(text, 1366) for text in (self.authenticator_data, self.client_data, self.signature))
        return Assertion(self.credential, public_key, data, client, signature)


class NewKey(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an authenticator gave that made a passkey, in base64url."""

    id: Annotated[str, Meta(min_length=1, max_length=1364)]
    client_data: Annotated[str, Meta(min_length=1, max_length=2732)]
    attestation: Annotated[str, Meta(min_length=1, max_length=8192)]


@dataclass(frozen=True, slots=True)
class Made:
    """A passkey that is new."""

    credential: bytes
    public_key: bytes
    sign_count: int


def request_of(place: Place, person: Person, challenge: bytes, known: Iterable[bytes]) -> str:
    """JSON of what a browser asks an authenticator for, which makes no second passkey where it has one of `known`."""
    options = webauthn.generate_registration_options(
        rp_id=place.rp_id,
        rp_name="Palimpsest",
        user_id=person.id.bytes,
        user_name=person.on_record,
        user_display_name=person.display_name,
        challenge=challenge,
        timeout=_PATIENCE_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
        supported_pub_key_algs=KINDS,
    )
    return webauthn.options_to_json(options)


def made(place: Place, challenge: bytes, answer: NewKey) -> Made:
    """The new passkey of an answer. Raises Refused."""
    try:
        credential, attestation = bytes_of(answer.id, 1364), bytes_of(answer.attestation, 8192)
        if parse_attestation_object(attestation).fmt not in FORMATS:
            raise Refused("an attestation that nobody asked for")
        found = webauthn.verify_registration_response(
            credential=RegistrationCredential(
                answer.id, credential, AuthenticatorAttestationResponse(bytes_of(answer.client_data, 2732), attestation)
            ),
            expected_challenge=challenge,
            expected_rp_id=place.rp_id,
            expected_origin=place.origin,
            require_user_verification=True,
            supported_pub_key_algs=KINDS,
        )
        public_key_of(found.credential_public_key)
    except _UNREADABLE as error:
        raise Refused(str(error)) from error
    if found.credential_id != credential:
        raise Refused("the credential has two ids")
    return Made(credential, found.credential_public_key, found.sign_count)


def signed(place: Place, challenge: bytes, assertion: Assertion, sign_count: int) -> None:
    """Raises Refused unless this passkey, last seen at `sign_count`, signed the challenge at a page of this house.

    The library judges, and then the very rule that the offline verifier will apply.
    """
    answer = AuthenticationCredential(
        text_of(assertion.credential), assertion.credential,
        AuthenticatorAssertionResponse(assertion.client_data, assertion.authenticator_data, assertion.signature),
    )  # fmt: skip
    try:
        for fault in assertion_faults(assertion, challenge):
            raise MalformedData(fault)
        if not is_for(assertion, place.rp_id):
            raise MalformedData("it was asked by another host")
        webauthn.verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=place.rp_id,
            expected_origin=place.origin,
            credential_public_key=assertion.public_key,
            credential_current_sign_count=sign_count,
            require_user_verification=True,
        )
    except _UNREADABLE as error:
        raise Refused(str(error)) from error


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return not host
    return True
