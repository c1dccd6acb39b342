"""What people do at the pages: each act is in the log before it is done, and takes those people whom it takes."""

from __future__ import annotations

import asyncio
import io
import re
import tarfile
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from audit.acts import Erasure, Export, HoldPlaced, HoldReleased, KeyChange, PolicyChange, RetentionRule, TenantMade, UserChange
from audit.header import decode_header
from audit.keys import KeyStore
from audit.records import Body
from audit.store import read_tenant
from audit.verify import Verdict, verify
from audit.writer import SYSTEM
from gateway.people.names import Role
from gateway.recorded import opened
from tests.audit.writer_samples import TENANT
from tests.gateway.planted import PASSWORD, plant_tenant, plant_user
from tests.gateway.ui.archives import unpacked
from tests.gateway.ui.browsing import Browser, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALL = tuple(Role)
LAW = 'schema = "palimpsest.policy/1"\ntenant = "acme"\ninherit = "baseline"\n'
HOLDING = f"{LAW}[limits]\nmax_tokens = 64\ndefault_max_tokens = 64\n"


def acts(shared: Site, kind: type[Body], tenant: str = TENANT) -> list[Body]:
    """The acts of one kind on record."""
    log = shared.housed.log
    with read_tenant(log.database.reader_url, tenant) as reader:
        stored = list(reader.acts())
    bodies = (opened(KeyStore(log.keys), decode_header(each.header), each.body) for each in stored)
    return [body for body in bodies if isinstance(body, kind)]


async def finished(browser: Browser, begun: httpx.Response) -> str:
    """The page of a piece of work once it is over."""
    assert begun.status_code == 303, begun.text
    async with asyncio.timeout(30):
        while True:
            shown = await browser.get(begun.headers["location"])
            if "This page follows by itself" not in shown.text:
                return shown.text
            await asyncio.sleep(0.05)


def two(shared: Site, name: str, *roles: Role) -> dict[str, str]:
    """The signature of the visitor and of a second person, who is made."""
    plant_user(shared.database.app_url, TENANT, name, *roles)
    return {"reason": f"because of {name}", "password": PASSWORD, "approver": name, "approver_password": PASSWORD}


async def test_the_whole_log_is_verified_from_its_page(shared: Site) -> None:
    """Verify now judges the log as an outsider would, and says what it did not check."""
    async with shared.signed_in("vera", Role.AUDITOR) as browser:
        await shared.housed.ask("hello")
        await browser.get("/log")
        shown = await finished(browser, await browser.post("/log/verify", {}))
        assert "nothing contradicts" in shown and "Not checked" in shown


async def test_an_export_is_recorded_made_downloaded_and_verifies(shared: Site, tmp_path: Path) -> None:
    """The archive is a bundle that the offline verifier accepts; making it and taking it are two records."""
    async with shared.signed_in("xenia", Role.AUDITOR) as browser:
        asked = await shared.housed.ask("hello")
        await browser.get("/exports")
        assert (await browser.post("/exports", {"disclose": "all"})).status_code == 409, "a reason is asked for"
        fields = {"disclose": "requests", "requests": asked.headers["x-request-id"], "reason": "case 7", "format": "csv"}
        ready = await finished(browser, await browser.post("/exports", fields))
        place = ready.split('href="/exports/')[1].split('"')[0]
        assert "case 7" in (await browser.get("/exports")).text
        shown = await browser.get(f"/exports/{place}")
        assert "python -m audit verify" in shown.text
        taken = await browser.post(f"/exports/{place}/download", {})
        assert taken.status_code == 200 and "attachment" in taken.headers["content-disposition"]
        with tarfile.open(fileobj=io.BytesIO(taken.content)) as archive:
            folder = unpacked(archive, tmp_path)
        vkey, origin = shared.housed.log.export(tmp_path / "own")
        report = verify(folder, [vkey], origin)
        assert report.verdict is Verdict.VERIFIED and report.decrypted > 0
        made = [body for body in acts(shared, Export) if isinstance(body, Export) and body.requested_by == "xenia"]
        assert [(body.disclosed, body.requests) for body in made] == [("requests", 1), ("requests", 1)]
        assert made[1].reason == f"download of export {place}: case 7"


async def test_an_erasure_takes_two_people_and_the_exports_with_it(shared: Site) -> None:
    """One person, or the same twice, erases nothing; two do, and no export that shows content is left."""
    async with shared.signed_in("olga", Role.OPERATOR, Role.AUDITOR) as browser:
        answer = await shared.housed.ask("to be erased")
        subject = shared.housed.house.registry.find(shared.housed.key)
        assert subject is not None
        await browser.get("/exports")
        await finished(browser, await browser.post("/exports", {"disclose": "all", "reason": "before the erasure"}))
        await browser.get("/retention")
        alone = {
            "subject": subject.caller,
            "reason": "r",
            "password": PASSWORD,
            "approver": "olga",
            "approver_password": PASSWORD,
        }
        refused = await browser.post("/retention/erase", alone)
        assert refused.status_code == 409 and "name a second person" in refused.text and subject.caller in refused.text
        wrong = two(shared, "arno", Role.AUDITOR) | {"approver_password": "wrong wrong wrong", "subject": subject.caller}
        assert (await browser.post("/retention/erase", wrong)).status_code == 409
        assert acts(shared, Erasure) == []
        done = await browser.post("/retention/erase", wrong | {"approver_password": PASSWORD})
        assert done.headers["location"] == "/retention?done=erased"
        (erasure,) = acts(shared, Erasure)
        assert isinstance(erasure, Erasure) and (erasure.requested_by, erasure.approved_by) == ("olga", "arno")
        assert "before the erasure" not in (await browser.get("/exports")).text
        shown = await browser.get("/retention?done=erased")
        assert "Nobody can read it any more." in shown.text and "erased 1 key" in shown.text
        assert (await browser.get(f"/generations/{answer.headers['x-request-id']}/reading")).status_code == 404


async def test_a_hold_forbids_and_a_rule_is_set_by_two(shared: Site) -> None:
    """One person places a hold, two release it; while it stands nothing is retired, and the page says so."""
    async with shared.signed_in("hilda", Role.OPERATOR) as browser:
        await browser.get("/retention")
        placed = await browser.post("/retention/hold", {"reason": "case 9", "password": PASSWORD})
        assert placed.headers["location"] == "/retention?done=hold-placed"
        (hold,) = acts(shared, HoldPlaced)
        assert isinstance(hold, HoldPlaced) and hold.subject is None
        signed = two(shared, "anton", Role.AUDITOR)
        assert (await browser.post("/retention/rule", signed | {"days": "0"})).status_code == 409
        assert (await browser.post("/retention/rule", signed | {"days": "184"})).status_code == 303
        (rule,) = acts(shared, RetentionRule)
        assert isinstance(rule, RetentionRule) and rule.days == 184
        shown = await browser.get("/retention")
        assert "case 9" in shown.text and "184 days" in shown.text and "Remove what the rule" not in shown.text
        refused = await browser.post("/retention/retire", {})
        assert refused.status_code == 409 and "forbids a retirement" in refused.text
        assert (await browser.post("/retention/release", signed | {"hold": str(hold.hold)})).status_code == 303
        assert len(acts(shared, HoldReleased)) == 1
        assert (await browser.post("/retention/retire", {})).headers["location"] == "/retention?done=nothing-old"


async def test_people_and_keys_are_changed_on_record(shared: Site) -> None:
    """A person is made, changed and signed out; a key is told once, rotated and revoked: each is in the log."""
    async with shared.signed_in("orla", Role.OPERATOR) as browser:
        await browser.get("/admin")
        fields = {"name": "newt", "role": "approver", "groups": "leads, night", "new_password": PASSWORD}
        assert (await browser.post("/admin/people", fields)).status_code == 303
        again = await browser.post("/admin/people", fields)
        assert again.status_code == 409 and "exists already" in again.text
        assert (await browser.post("/admin/people", fields | {"name": "short", "new_password": "short"})).status_code == 409
        async with shared.browser() as newt:
            assert (await newt.sign_in("newt")).status_code == 303
            assert "last used" in (await browser.get("/admin/people/newt")).text
            assert (await browser.post("/admin/people/newt/sign-out", {})).status_code == 303
            assert (await newt.get("/account")).status_code == 303, "the session has ended"
        await browser.post("/admin/people/newt/roles", {"role": "auditor"})
        await browser.post("/admin/people/newt/groups", {"groups": "night"})
        await browser.post("/admin/people/newt/disable", {})
        await browser.post("/admin/people/newt/enable", {})
        changes = [body for body in acts(shared, UserChange) if isinstance(body, UserChange) and body.name == "newt"]
        assert [body.act for body in changes] == ["made", "signed_out", "roles", "groups", "disabled", "enabled"]
        assert (changes[-1].roles, changes[-1].groups) == (("auditor",), ("night",))
        oneself = await browser.post("/admin/people/orla/roles", {"role": "auditor"})
        assert oneself.status_code == 409 and "another operator" in oneself.text

        told = await browser.post("/admin/keys", {"label": "laptop", "user": "newt", "days": "90"})
        text, key = told.text.split('class="secret">')[1].split("<")[0], told.text.split('href="/admin/keys/')[1].split('"')[0]
        registry = shared.housed.house.registry
        assert registry.find(text) is not None and text not in (await browser.get(f"/admin/keys/{key}")).text
        await browser.post(f"/admin/keys/{key}/rotate", {})
        assert registry.find(text) is None
        assert (await browser.post(f"/admin/keys/{key}/revoke", {})).headers["location"].endswith("done=saved")
        assert (await browser.post(f"/admin/keys/{key}/revoke", {})).headers["location"].endswith("done=nothing")
        told_of = [body for body in acts(shared, KeyChange) if isinstance(body, KeyChange) and body.key == key]
        assert [body.act for body in told_of] == ["made", "rotated", "revoked"]


async def test_tenants_are_made_by_operators_of_system(shared: Site) -> None:
    """An operator of `system` makes a tenant, on record in its log; an operator of another tenant is refused."""
    async with shared.signed_in("sys-op", Role.OPERATOR, tenant=SYSTEM) as browser:
        await browser.get("/admin/tenants")
        assert (await browser.post("/admin/tenants", {"name": "initech"})).status_code == 303
        assert (await browser.post("/admin/tenants", {"name": "No Tenant"})).status_code == 409
        assert [body.tenant for body in acts(shared, TenantMade, SYSTEM) if isinstance(body, TenantMade)] == ["initech"]
    async with shared.signed_in("tenant-op", Role.OPERATOR) as browser:
        await browser.get("/admin")
        assert (await browser.get("/admin/tenants")).status_code == 403
        assert (await browser.post("/admin/tenants", {"name": "hooli"})).status_code == 403


async def test_a_session_alone_sets_no_password_of_its_own(shared: Site) -> None:
    """An operator sets other people's passwords, never their own: that takes the present one, on the account page."""
    async with shared.signed_in("oona", Role.OPERATOR) as browser:
        await browser.get("/admin/people/oona")
        refused = await browser.post("/admin/people/oona/password", {"new_password": "another battery horse"})
        assert refused.status_code == 409 and "/account" in refused.text
        assert (await browser.get("/account")).status_code == 200, "the session has not ended"
        assert (await browser.sign_in("oona")).status_code == 303
    assert [each for each in acts(shared, UserChange) if isinstance(each, UserChange) and each.name == "oona"] == []


async def test_ones_own_password_is_changed_by_whoever_has_it(shared: Site) -> None:
    """The present password is asked for; with another one every session ends, and the new one opens the next."""
    async with shared.signed_in("pia") as browser:
        await browser.get("/account")
        fields = {"password": "wrong wrong wrong", "new_password": "another battery horse"}
        assert (await browser.post("/account/password", fields)).status_code == 403
        assert (
            await browser.post("/account/password", fields | {"password": PASSWORD, "new_password": "pia"})
        ).status_code == 409
        done = await browser.post("/account/password", fields | {"password": PASSWORD})
        assert done.headers["location"] == "/sign-in?done=password-set"
        assert (await browser.get("/account")).status_code == 303
        assert (await browser.sign_in("pia", password="another battery horse")).status_code == 303


async def test_a_policy_takes_force_by_two_and_is_explained_and_replayed(shared: Site) -> None:
    """A bad document is told with its faults; a good one is tried, put in force and gone back from, and can be looked at."""
    plant_tenant(shared.database.app_url, TENANT)
    async with shared.signed_in("lex", Role.POLICY_ADMIN) as browser:
        signed = two(shared, "ruth", Role.POLICY_ADMIN)
        await browser.get("/policies")
        bad = await browser.post("/policies/apply", signed | {"document": 'schema = "palimpsest.policy/1"\nmode = 1'})
        assert bad.status_code == 409 and "mode" in bad.text and "policy-" not in bad.text
        named = HOLDING + '[[rules]]\nid = "m"\nphase = "admit"\naction = "block"\nwhen = { model = ["gpt"] }\n'
        assert "known: palimpsest-tiny" in (await browser.post("/policies/apply", signed | {"document": named})).text
        assert acts(shared, PolicyChange) == []
        assert (await browser.post("/policies/apply", signed | {"document": HOLDING})).status_code == 303
        trial = HOLDING.replace("64", "32")
        assert (await browser.post("/policies/apply", signed | {"document": trial, "share": "10"})).status_code == 303
        first, second = (body for body in acts(shared, PolicyChange) if isinstance(body, PolicyChange))
        shown = await browser.get("/policies")
        assert "On trial" in shown.text and "10.0%" in shown.text and "because of ruth" in shown.text
        lines = (await browser.get(f"/policies/difference?old={first.after.hex()}&new={second.after.hex()}")).text
        assert "<del>" in lines and "<ins>" in lines and "64" in lines
        assert "What it changed" in (await browser.get(f"/policies/{second.after.hex()}")).text
        assert (await browser.get(f"/policies/{'0' * 64}")).status_code == 404
        since = dict(re.findall(r'name="(since)" value="(\d+)"', shown.text))
        assert (await browser.post("/policies/rollback", signed | since)).status_code == 303
        again = await browser.post("/policies/rollback", signed | since)
        assert since and again.status_code == 409 and "look again" in again.text
        assert "On trial" not in (await browser.get("/policies")).text
        replayed = await finished(browser, await browser.post("/policies/replay", {"version": second.after.hex(), "days": "1"}))
        assert "over the same requests" in replayed and "candidate" in replayed
        missing = {"metric": "logprob_min", "low": "-12", "high": "-2", "steps": "3"}
        assert "add one to sweep it" in await finished(browser, await browser.post("/policies/sweep", missing))
        assert (await browser.post("/policies/sweep", missing | {"low": "nan"})).status_code == 409
        assert (await browser.post("/policies/replay", {"document": quote("x = ")})).status_code == 409
