"""Whatever bytes an authenticator, a browser or somebody in their place sends, they are a passkey, a signature, or refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.passkeys import bytes_of, text_of
from gateway.people.ceremonies import NewKey, Place, Refused, made, signed
from tests.audit.authenticator import ORIGIN, RP_ID, Authenticator

PLACE = Place(RP_ID, ORIGIN)
CHALLENGE = bytes(range(32))
GOOD = Authenticator().make(CHALLENGE)
ATTESTATION = bytes_of(GOOD["attestation"], 8192)

leaves = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.binary(max_size=80) | st.text(max_size=8)
words = st.text(max_size=4)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))
statements = st.dictionaries(st.sampled_from(["alg", "sig", "x5c", "ecdaaKeyId", "ver"]), values, max_size=4)
attestations = st.fixed_dictionaries({
    "fmt": st.sampled_from(["none", "packed", "tpm", "apple"]), "attStmt": statements,
    "authData": st.binary(max_size=200) | st.just(cbor2.loads(ATTESTATION)["authData"]),
})  # fmt: skip


def test_a_true_answer_is_a_passkey() -> None:
    """The answer that the others are made from is accepted, with the very key and id."""
    key = Authenticator()
    found = made(PLACE, CHALLENGE, NewKey(**GOOD))
    assert (found.credential, found.public_key) == (key.credential, key.public_key)
    signed(PLACE, CHALLENGE, key.sign(CHALLENGE), found.sign_count)


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_damaged_attestation_is_refused_or_means_the_same(place: int, noise: bytes, cut: bool) -> None:
    """Bytes overwritten or cut off raise nothing but the refusal, and never give another id than the one that was sent."""
    at = place % len(ATTESTATION)
    damaged = ATTESTATION[:at] + noise + (b"" if cut else ATTESTATION[at + len(noise) :])
    try:
        found = made(PLACE, CHALLENGE, NewKey(**GOOD | {"attestation": text_of(damaged)}))
    except Refused:
        return
    assert found.credential == Authenticator().credential


@given(values | attestations)
def test_no_attestation_raises_anything_else(attestation: Any) -> None:
    """Any CBOR in its place is refused, unless it says the same."""
    try:
        found = made(PLACE, CHALLENGE, NewKey(**GOOD | {"attestation": text_of(cbor2.dumps(attestation))}))
    except Refused:
        return
    assert (found.credential, found.public_key) == (Authenticator().credential, Authenticator().public_key)


@given(st.binary(max_size=300))
def test_no_client_data_raises_anything_else(noise: bytes) -> None:
    """Nor do client data that are anything."""
    with pytest.raises(Refused):
        made(PLACE, CHALLENGE, NewKey(**GOOD | {"client_data": text_of(noise) or "A"}))
    good = Authenticator().sign(CHALLENGE)
    with pytest.raises(Refused):
        signed(PLACE, CHALLENGE, replace(good, client_data=noise or b"A"), 0)
