"""Who is shown a request is shown the acts that concern it, and no act that names somebody else."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from uuid import UUID

import pytest

from audit.acts import (
    Access,
    Act,
    Erasure,
    ErasureRefused,
    Export,
    HoldPlaced,
    HoldReleased,
    KeyChange,
    PolicyChange,
    RetentionRule,
    Retirement,
    SchemaChange,
    commit_to,
)
from audit.export import Reach, acts_concerning, disclose_requests
from audit.header import decode_header, uuid7
from audit.records import Kind, kind_of
from audit.verify import Verdict, verify
from tests.audit.samples import HOLD, ORIGIN, POLICY, SALT, SAMPLES, START, TWO, WHOLE_REQUEST, Log

OURS, THEIRS = uuid7(START), uuid7(START)
REACH = Reach(frozenset({OURS}), (3, 4, 9), frozenset({"key-1"}), frozenset({"2026-11-aa"}), frozenset({POLICY}))
ONE = {"reason": "why", "requested_by": "ada"}
BOTH = {"reason": "why", **TWO}


def erasure(*keys: str) -> Erasure:
    """An erasure of these month keys."""
    return Erasure(commit_to("x", SALT), SALT, keys, **BOTH)


@pytest.mark.parametrize(
    ("act", "concerns"),
    [
        (erasure("2026-11-aa", "2026-11-bb"), True),
        (erasure("2026-11-bb"), False),
        (ErasureRefused(commit_to("key-1", SALT), SALT, (HOLD,), **BOTH), True),
        (ErasureRefused(commit_to("key-2", SALT), SALT, (HOLD,), **BOTH), False),
        (HoldPlaced(HOLD, None, **ONE), True),
        (HoldPlaced(HOLD, "key-1", **ONE), True),
        (HoldPlaced(HOLD, "key-2", **ONE), False),
        (RetentionRule(9, **BOTH), True),
        (Retirement(1, START, 4, 8, "ada"), True),
        (Retirement(1, START, 5, 8, "ada"), False),
        (Access(OURS, 0, 2, **ONE), True),
        (Access(THEIRS, 3, 9, **ONE), False),
        (Access(None, 9, 12, **ONE), True),
        (Access(None, 5, 8, **ONE), False),
        (Export("jsonl", 4, "all", 0, **ONE), True),
        (Export("jsonl", 3, "nothing", 0, **ONE), False),
        (KeyChange("revoked", "caller", "key-1", "laptop", "ada"), True),
        (KeyChange("revoked", "caller", "key-2", "laptop", "ada"), False),
        (KeyChange("rotated", "signer", "5bfe5f39", "log", "ada"), True),
        (SchemaChange("0006", None, POLICY, "ada"), False),
    ],
)
def test_an_act_concerns_what_it_names(act: Act, concerns: bool) -> None:
    """By keys, subject, seq, request, size or policy; what holds for the whole tenant concerns everybody."""
    assert REACH.is_named_by(act) is concerns


def test_a_policy_in_force_concerns_what_it_decided() -> None:
    """The change that brought the policy of a request's records is told with it."""
    change = SAMPLES[Kind.POLICY_CHANGE]
    assert isinstance(change, PolicyChange)
    assert not REACH.is_named_by(change)
    assert dataclasses.replace(REACH, policies=frozenset({change.after})).is_named_by(change)


def test_the_passkey_of_whoever_signed_is_shown() -> None:
    """An enrolment is told with the requests that its person acted on, for the signature to be checked, and with no other."""
    passkey = SAMPLES[Kind.PASSKEY_CHANGE]
    assert not REACH.is_named_by(passkey)
    assert dataclasses.replace(REACH, actors=frozenset({"key-1", "grace"})).is_named_by(passkey)


def _log(folder: Path) -> tuple[Log, UUID]:
    """Two callers' requests, holds on each and their releases, an erasure of the first caller, an export."""
    log, other = Log(folder), UUID(int=HOLD.int ^ 1)
    for subject in ("key-1", "key-2"):
        log.add(uuid7(START), WHOLE_REQUEST, subject=subject, actor=subject)
    first = decode_header(log.rows[0].header)
    acts: list[Act] = [
        HoldPlaced(HOLD, "key-1", **ONE), HoldPlaced(other, "key-2", **ONE), HoldReleased(HOLD, **BOTH),
        HoldReleased(other, **BOTH), erasure(first.key_id), Export("jsonl", 25, "requests", 1, **ONE),
    ]  # fmt: skip
    log.add(None, acts, subject="palimpsest:acts", actor="ada")
    log.keys.destroy([first.key_id])
    log.checkpoint()
    return log, first.scope


def test_an_outsider_reads_what_became_of_a_request(tmp_path: Path) -> None:
    """A bundle of one request opens its holds, its erasure and the exports, explains what is gone, and opens nothing else."""
    log, request = _log(tmp_path / "keys")
    headers = [header for row in log.rows if (header := decode_header(row.header)).scope == request]
    acts = acts_concerning(Reach.of(headers), log.rows[20:], log.keys)
    log.export(tmp_path / "out", disclose_requests(log.keys, frozenset({request}) | acts))
    report = verify(tmp_path / "out", [log.signer.vkey], ORIGIN)
    kinds = [decode_header(row.header).kind for row in log.rows if decode_header(row.header).record in acts]
    assert kinds == [Kind.HOLD_PLACED, Kind.HOLD_RELEASED, Kind.ERASURE, Kind.EXPORT]
    assert (report.verdict, report.decrypted) == (Verdict.INCOMPLETE, 4)
    (finding,) = report.findings
    assert "was erased by record 24" in finding.message
    assert any("12 undisclosed" in item for item in report.unchecked)


def test_an_act_that_cannot_be_read_stays_sealed(tmp_path: Path) -> None:
    """Acts whose body is gone or damaged are passed over; the export goes on, and the verifier names them."""
    log, request = _log(tmp_path / "keys")
    headers = [header for row in log.rows if (header := decode_header(row.header)).scope == request]
    acts = [dataclasses.replace(log.rows[20], body=None), dataclasses.replace(log.rows[21], header=b"x"), *log.rows[22:]]
    chosen = acts_concerning(Reach.of(headers), acts, log.keys)
    assert [kind_of(SAMPLES[Kind(decode_header(row.header).kind)]) for row in log.rows[22:] if
            decode_header(row.header).record in chosen] == [Kind.ERASURE, Kind.EXPORT]  # fmt: skip


def test_a_policy_that_came_back_makes_no_tampering_of_an_excerpt(tmp_path: Path) -> None:
    """A bundle of one request, whose policy was replaced and put in force again, is verified without the change between."""
    log, request = Log(tmp_path / "keys"), uuid7(START)
    back, between = (hashlib.sha256(text).digest() for text in (b"back", b"between"))
    log.add(None, [PolicyChange(POLICY, back, "back", "why", "ada", "grace")], subject="palimpsest:acts", actor="ada")
    log.add(request, [SAMPLES[Kind.ENGINE_NOTE]], policy=back)
    for before, after, text in ((back, between, "between"), (between, back, "back")):
        log.add(None, [PolicyChange(before, after, text, "why", "ada", "grace")], subject="palimpsest:acts", actor="ada")
    log.checkpoint()
    reach = Reach.of([decode_header(log.rows[1].header)])
    acts = acts_concerning(reach, [log.rows[0], *log.rows[2:]], log.keys)
    log.export(tmp_path / "out", disclose_requests(log.keys, frozenset({request}) | acts))
    report = verify(tmp_path / "out", [log.signer.vkey], ORIGIN)
    assert (report.verdict, report.decrypted, report.findings) == (Verdict.VERIFIED, 3, [])
