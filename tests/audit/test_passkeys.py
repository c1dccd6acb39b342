"""Laws of signatures by passkey: which one counts, and how the verifier names each that does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from audit.acts import PasskeyChange
from audit.approvals import ApprovalOpened, ApprovalRevoked
from audit.errors import InvalidRecord, MalformedData
from audit.passkeys import Assertion, assertion_faults, is_for, public_key_of, read_evidence, text_of, write_evidence
from audit.verify import Verdict, verify
from tests.audit.approval_bodies import NEEDED, decided, ended
from tests.audit.authenticator import ORIGIN, PRESENT, RP_ID, Authenticator, cose_of, p256
from tests.audit.held_log import HeldLog
from tests.audit.samples import INSTANCE
from tests.audit.samples import ORIGIN as LOG

CHALLENGE = bytes(range(32))
ONE = replace(NEEDED, quorum=1)
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
Tell: TypeAlias = Callable[[HeldLog, UUID, ApprovalOpened], int]


def enrolled(log: HeldLog, key: Authenticator, name: str = "ada", act: str = "added", **change: Any) -> int:
    """A passkey of this person is on record; its seq."""
    body = PasskeyChange(act, INSTANCE, name, key.credential, key.public_key, RP_ID, "laptop", name)
    log.add(None, [replace(body, **change)], actor=name)
    return len(log.rows) - 1


def by(key: Authenticator, cycle: ApprovalOpened, person: str = "ada", **said: Any) -> Any:
    """A decision that is signed so."""
    return decided(cycle, person, method="webauthn", evidence=write_evidence(key.sign(cycle.binding, **said)))


@pytest.mark.parametrize("key", [p256(7), ED25519], ids=["es256", "eddsa"])
def test_a_signature_by_an_enrolled_passkey_is_verified(tmp_path: Path, key: Any) -> None:
    """Enrolled, signed, taken back, signed again after another count, released, and the passkey removed: all is verified."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys", needed=(ONE,))
    passkey = Authenticator(key)
    enrolled(log, passkey)
    log.step(generation, by(passkey, cycle))
    log.step(generation, ApprovalRevoked(1, cycle.binding, "ada", "too quick"))
    signed = log.step(generation, by(passkey, cycle))
    log.step(generation, ended(cycle, (signed,), 5))
    enrolled(log, passkey, act="removed")
    log.checkpoint()
    log.export(tmp_path / "out")
    report = verify(tmp_path / "out", [log.signer.vkey], LOG)
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
    assert not any("passkey" in said for said in report.unchecked)


def never_enrolled(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, by(Authenticator(), cycle))


def of_another(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    enrolled(log, Authenticator(), "grace")
    return log.step(generation, by(Authenticator(), cycle))


def with_another_key(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    enrolled(log, Authenticator())
    return log.step(generation, by(Authenticator(p256(8)), cycle))


def for_another_host(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    enrolled(log, Authenticator(), rp_id="other.example")
    return log.step(generation, by(Authenticator(), cycle))


def after_it_was_removed(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    key = Authenticator()
    enrolled(log, key)
    enrolled(log, key, act="removed")
    log.skipped += 61_000_000
    return log.step(generation, by(key, cycle))


def of_another_cycle(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    key = Authenticator()
    enrolled(log, key)
    evidence = write_evidence(key.sign(bytes(32)))
    return log.step(generation, decided(cycle, "ada", method="webauthn", evidence=evidence))


def said_twice(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    key = Authenticator(count=None)
    enrolled(log, key)
    log.step(generation, by(key, cycle))
    log.step(generation, ApprovalRevoked(1, cycle.binding, "ada", "too quick"))
    return log.step(generation, by(key, cycle))


def without_evidence(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, decided(cycle, "ada", method="webauthn"))


def evidence_without_a_passkey(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return log.step(generation, decided(cycle, "ada", evidence=write_evidence(Authenticator().sign(cycle.binding))))


def unverified(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    enrolled(log, Authenticator())
    return log.step(generation, by(Authenticator(), cycle, flags=PRESENT))


def added_twice(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    enrolled(log, Authenticator())
    return enrolled(log, Authenticator())


def removed_unmade(log: HeldLog, generation: UUID, cycle: ApprovalOpened) -> int:
    return enrolled(log, Authenticator(), act="removed")


LIES: tuple[tuple[Tell, str], ...] = (
    (never_enrolled, "had not enrolled"), (of_another, "had not enrolled"), (with_another_key, "had not enrolled"),
    (for_another_host, "had not enrolled"), (after_it_was_removed, "had not enrolled"), (of_another_cycle, "another challenge"),
    (said_twice, "an assertion counts once"), (without_evidence, "no signature of a passkey"),
    (evidence_without_a_passkey, "not signed with one"), (unverified, "make sure who was there"),
    (added_twice, "there already"), (removed_unmade, "not there"),
)  # fmt: skip


@pytest.mark.parametrize(("tell", "named"), LIES, ids=lambda part: getattr(part, "__name__", None))
def test_each_lie_about_a_passkey_is_named(tmp_path: Path, tell: Tell, named: str) -> None:
    """The verifier points at the record that lies, and says what is wrong with it."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys", needed=(ONE,))
    seq = tell(log, generation, cycle)
    log.checkpoint()
    log.export(tmp_path / "out")
    report = verify(tmp_path / "out", [log.signer.vkey], LOG)
    assert report.verdict is Verdict.TAMPERED
    assert [(each.seq, bool(re.search(named, each.message))) for each in report.findings] == [(seq, True)]


def test_what_another_log_enrolled_is_said_to_be_unchecked(tmp_path: Path) -> None:
    """A person of `system` enrols elsewhere: the signature is checked, and the report says that its enrolment was not."""
    log, generation, cycle = HeldLog.begun(tmp_path / "keys", needed=(ONE,))
    log.step(generation, by(Authenticator(), cycle, "system/root"))
    log.checkpoint()
    log.export(tmp_path / "out")
    report = verify(tmp_path / "out", [log.signer.vkey], LOG)
    assert report.verdict is Verdict.VERIFIED
    assert any("the enrolment of the passkeys of 1 signatures" in said for said in report.unchecked)


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "webauthn.create"}, "by the page itself"), ({"crossOrigin": True}, "by the page itself"),
    ({"crossOrigin": None}, "by the page itself"), ({"challenge": ""}, "another challenge"),
    ({"challenge": text_of(CHALLENGE) + "="}, "another challenge"), ({"origin": "https://gate.example.evil"}, "another host"),
    ({"origin": "https://evil/gate.example"}, "another host"), ({"origin": 7}, "another host"),
    ({"origin": "https://[gate.example"}, "another host"), ({"flags": PRESENT}, "who was there"), ({"flags": 0x04}, "who was"),
    ({"rp_id": "other.example"}, "another host"),
)  # fmt: skip


@pytest.mark.parametrize(("said", "named"), WRONG, ids=str)
def test_what_a_passkey_was_asked_must_be_this(said: dict[str, Any], named: str) -> None:
    """A signature that verifies, over anything else than a decision on this page by a person who was verified, is refused."""
    (fault,) = assertion_faults(Authenticator().sign(CHALLENGE, **said), CHALLENGE)
    assert named in fault


def test_a_page_below_the_name_may_ask() -> None:
    """A passkey for a name serves the hosts below it, as browsers have it."""
    assert not list(assertion_faults(Authenticator().sign(CHALLENGE, origin="https://a.gate.example:8017"), CHALLENGE))
    assert not list(assertion_faults(Authenticator().sign(CHALLENGE, origin=ORIGIN), CHALLENGE))


def test_client_data_that_is_no_object_is_refused() -> None:
    """Text that is not JSON, nests without end or is no object is named, and nothing is raised."""
    good = Authenticator().sign(CHALLENGE)
    for client in (b"{", b"[" * 1024, b"[]", b"7", b"\xff"):
        found = list(assertion_faults(replace(good, client_data=client), CHALLENGE))
        assert any("no JSON object" in each for each in found) and any("does not verify" in each for each in found)


FIELDS = ("authenticator_data", "client_data", "signature", "public_key")


@given(st.sampled_from(FIELDS), st.integers(0, 10**6), st.integers(1, 255), st.sampled_from([p256(7), ED25519]))
def test_no_changed_byte_is_accepted(name: str, place: int, change: int, key: Any) -> None:
    """Whatever byte of an assertion is another, it is refused: signed or signature, key or client data."""
    good = Authenticator(key).sign(CHALLENGE)
    data = bytearray(getattr(good, name))
    data[place % len(data)] ^= change
    assert list(assertion_faults(replace(good, **{name: bytes(data)}), CHALLENGE))


@given(st.binary(max_size=200))
def test_evidence_has_one_spelling(noise: bytes) -> None:
    """Any text is refused or is the very text that its assertion writes; padding and other alphabets are refused."""
    good = write_evidence(Authenticator().sign(CHALLENGE))
    assert write_evidence(read_evidence(good)) == good
    for text in (text_of(noise), good + "=", good + "\n", good[:-1], "é" + good, good * 20, good.replace("-", "+") + "+"):
        with pytest.raises(MalformedData):
            read_evidence(text)


def test_what_is_too_big_is_not_written() -> None:
    """Bounds hold for each part, so that every assertion that can be written fits its record."""
    big = Assertion(bytes(1023), cose_of(p256(7)), bytes(512), bytes(1024), bytes(72))
    assert len(write_evidence(big)) <= 4096
    for name, size in (("credential", 1024), ("authenticator_data", 513), ("client_data", 1025), ("signature", 73)):
        with pytest.raises(InvalidRecord):
            write_evidence(replace(big, **{name: bytes(size)}))


def test_only_two_kinds_of_keys_are_read() -> None:
    """P-256 and Ed25519 are, in one spelling; another curve, a point off the curve and another order of the map are not."""
    assert public_key_of(cose_of(p256(7))) == p256(7).public_key()
    assert public_key_of(cose_of(ED25519)) == ED25519.public_key()
    off = bytearray(cose_of(p256(7)))
    off[-1] ^= 1
    other = cose_of(ec.derive_private_key(7, ec.SECP384R1()))
    turned = bytes.fromhex("a5032601022001215820") + cose_of(p256(7))[10:]
    for wrong in (bytes(off), other, turned, b"", bytes(42), bytes(77), b"\x04" + bytes(64)):
        with pytest.raises(MalformedData):
            public_key_of(wrong)


def test_a_host_is_known_by_its_hash() -> None:
    """An assertion is for the name that it was asked under and for no other."""
    good = Authenticator().sign(CHALLENGE)
    assert is_for(good, RP_ID) and not is_for(good, "example") and not is_for(good, "")
