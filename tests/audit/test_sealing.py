"""Laws of sealed bodies."""

import json
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import SealBroken
from audit.sealing import OVERHEAD, MonthSecret, RequestKey, request_key, seal, unseal

SECRET = MonthSecret(bytes(range(32)))
REQUEST = UUID("0198c0de-0002-7000-8000-000000000002")
RECORD = UUID("0198c0de-0001-7000-8000-000000000001")
KEY = request_key(SECRET, REQUEST)


@given(st.binary(max_size=200))
def test_round_trip(plain: bytes) -> None:
    """A body opens under its key, tenant and record id, and is longer by nonce and tag."""
    sealed = seal(KEY, "acme", RECORD, plain)
    assert unseal(KEY, "acme", RECORD, sealed) == plain
    assert len(sealed) == len(plain) + OVERHEAD


def test_a_golden_sealed_body_opens() -> None:
    """The published key derivation and sealed bytes stay readable for ever."""
    golden = json.loads((Path(__file__).parent / "vectors" / "sealed.json").read_text())
    key = request_key(MonthSecret(bytes.fromhex(golden["month_secret"])), UUID(golden["scope"]))
    assert key.hex() == golden["request_key"]
    sealed = bytes.fromhex(golden["sealed"])
    assert unseal(key, golden["tenant"], UUID(golden["record"]), sealed).hex() == golden["plaintext"]


def test_two_seals_differ() -> None:
    """Sealing the same body twice gives different bytes, so equality of content never shows."""
    assert seal(KEY, "acme", RECORD, b"same") != seal(KEY, "acme", RECORD, b"same")


@given(st.data())
def test_any_changed_bit_breaks_the_seal(data: st.DataObject) -> None:
    """One flipped bit anywhere in nonce, ciphertext or tag is refused."""
    sealed = bytearray(seal(KEY, "acme", RECORD, b"body"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBroken):
        unseal(KEY, "acme", RECORD, bytes(sealed))


def test_a_body_is_bound_to_tenant_record_and_request() -> None:
    """A body moved to another tenant, record or request does not open."""
    sealed = seal(KEY, "acme", RECORD, b"body")
    for key, tenant, record in (
        (KEY, "acm", RECORD), (KEY, "acme", REQUEST), (request_key(SECRET, RECORD), "acme", RECORD),
        (request_key(MonthSecret(bytes(32)), REQUEST), "acme", RECORD), (RequestKey(b"short"),
        "acme", RECORD),
    ):  # fmt: skip
        with pytest.raises(SealBroken):
            unseal(key, tenant, record, sealed)


@pytest.mark.parametrize("length", [0, 12, 27])
def test_short_bodies_are_refused(length: int) -> None:
    """Bytes too short for nonce and tag are no sealed body."""
    with pytest.raises(SealBroken):
        unseal(KEY, "acme", RECORD, b"\x00" * length)
