"""Decisions over the API that are signed by passkey, and what of them an outsider can check."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from audit.approvals import ApprovalDecided
from audit.passkeys import read_evidence
from audit.verify import Verdict
from tests.audit.authenticator import Authenticator, p256
from tests.audit.writer_samples import TENANT
from tests.gateway.api.offices import Office, Person
from tests.gateway.passkeyed import enrolled
from tests.gateway.planted import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def binding(office: Office, generation: UUID) -> str:
    """What a decision is about, as the API tells it."""
    found: str = (await office.grace.get(f"/api/approvals/{generation}")).json()["binding"]
    return found


async def decide(office: Office, who: Person, generation: UUID, **fields: Any) -> httpx.Response:
    """A decision about what waits, signed as the fields say."""
    tag = await office.tag(generation)
    return await who.post(f"/api/approvals/{generation}/decision", {"decision": "approve"} | fields, **{"if-match": f'"{tag}"'})


async def test_a_passkey_signs_and_anybody_can_check_it(office: Office, tmp_path: Path) -> None:
    """The assertion over the binding takes the place of the password; it is on record, and the verifier agrees offline."""
    mine = await enrolled(office.inside.house, "grace")
    generation = await office.held()
    bound = await binding(office, generation)
    done = await decide(office, office.grace, generation, binding=bound, passkey=mine.sent(bytes.fromhex(bound)))
    assert done.status_code == 200, done.text
    assert (done.json()["state"], done.json()["signatures"][0]["method"]) == ("approved", "webauthn")
    (signed,) = (body for body in office.inside.log.bodies(generation) if isinstance(body, ApprovalDecided))
    assert (signed.method, read_evidence(signed.evidence).public_key) == ("webauthn", mine.key.public_key)
    await office.inside.house.evidence.proof(TENANT, office.inside.log.last_seq(generation))  # which waits for a checkpoint
    report = office.inside.log.verified(tmp_path / "out")
    assert (report.verdict, [said for said in report.unchecked if "passkey" in said]) == (Verdict.VERIFIED, [])


async def test_what_is_no_signature_decides_nothing(office: Office) -> None:
    """Another binding than the live one, somebody else's passkey, none or two proofs, or a broken glass: nothing is signed."""
    mine = await enrolled(office.inside.house, "grace", Authenticator(p256(8), b"again"))
    hers = await enrolled(office.inside.house, "lin", Authenticator(p256(9), b"hers"))
    generation, other = await office.held(), await office.held()
    bound, elsewhere = await binding(office, generation), await binding(office, other)
    here, there = bytes.fromhex(bound), bytes.fromhex(elsewhere)
    refused: tuple[tuple[int, str, dict[str, Any]], ...] = (
        (401, "wrong_password", {"binding": bound, "passkey": mine.sent(there)}),
        (412, "stale_binding", {"binding": elsewhere, "passkey": mine.sent(there)}),
        (401, "wrong_password", {"binding": bound, "passkey": hers.sent(here)}),
        (412, "stale_binding", {"binding": "0" * 64, "passkey": mine.sent(bytes(32))}),
        (400, "invalid_request", {"passkey": mine.sent(here)}),
        (400, "invalid_request", {"binding": bound, "passkey": mine.sent(here), "password": PASSWORD}),
        (400, "invalid_request", {"binding": bound}),
        (400, "invalid_request", {"binding": bound, "passkey": mine.sent(here) | {"user_handle": "x"}}),
        (400, "invalid_request", {"binding": bound, "passkey": mine.sent(here) | {"signature": "x" * 97}}),
        (401, "wrong_password", {"binding": bound, "passkey": mine.sent(here) | {"signature": "===="}}),
        (412, "stale_binding", {"binding": elsewhere, "passkey": mine.sent(there)}),  # what is right lets the throttle forget
        (403, "not_permitted", {
            "binding": bound, "passkey": mine.sent(here), "decision": "break_glass", "reason": "outage"}),
    )  # fmt: skip
    for status, code, fields in refused:
        answer = await decide(office, office.grace, generation, **fields)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert not any(isinstance(body, ApprovalDecided) for body in office.inside.log.bodies(generation))


async def test_an_assertion_counts_once(office: Office) -> None:
    """Taken back, the same assertion of a passkey that does not count signs nothing again; the password does."""
    quiet = await enrolled(office.inside.house, "lin", Authenticator(p256(10), b"quiet", count=None))
    generation = await office.held()
    bound = await binding(office, generation)
    first = quiet.sent(bytes.fromhex(bound))
    assert (await decide(office, office.lin, generation, binding=bound, passkey=first)).status_code == 200
    await office.lin.act(f"/api/approvals/{generation}/revoke", reason="too quick")
    for again in (first, quiet.sent(bytes.fromhex(bound))):
        refused = await decide(office, office.lin, generation, binding=bound, passkey=again)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "already_decided")
    assert (await decide(office, office.lin, generation, password=PASSWORD)).status_code == 200


async def test_a_key_has_no_passkey(office: Office) -> None:
    """An API key signs nothing."""
    generation = await office.held()
    bound = await binding(office, generation)
    ours = await enrolled(office.inside.house, "ada", Authenticator(p256(11), b"ours"))
    fields = {"decision": "approve", "binding": bound, "passkey": ours.sent(bytes.fromhex(bound))}
    tag = {"if-match": f'"{await office.tag(generation)}"'}
    refused = await office.key.post(f"/api/approvals/{generation}/decision", json=fields, headers=tag)
    assert refused.status_code == 403
