"""Passkeys at the pages, without a browser: the account page's two steps, and the review page's signature."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from audit.acts import PasskeyChange
from gateway.approvals.case import State
from gateway.people.names import Role
from gateway.people.throttle import Door
from tests.audit.authenticator import Authenticator, p256
from tests.audit.writer_samples import TENANT
from tests.gateway.passkeyed import Held, enrolled
from tests.gateway.planted import PASSWORD
from tests.gateway.ui.browsing import Browser
from tests.gateway.ui.held import HeldSite, held_site
from tests.gateway.ui.test_reviewing import send
from tests.postgres_fixtures import Database

_OFFER = re.compile(r'data-passkey-make="([^"]*)"')


def text(answer: dict[str, str]) -> str:
    """What the script puts into the field."""
    return msgspec.json.encode(answer).decode()


async def test_a_passkey_takes_the_password_first(database: Database, tmp_path: Path) -> None:
    """Without the password no offer, without an offer no passkey; each act is on record, and removing takes the password."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        place = (await enrolled(held.site.housed.house, "grace", Authenticator(p256(8), b"first"))).place
        mine = Held(place)
        await browser.get("/account")
        wrong = await browser.post("/account/passkeys", {"label": "laptop", "password": "wrong wrong wrong"})
        assert wrong.status_code == 403 and not _OFFER.search(wrong.text)
        unasked = await browser.post("/account/passkeys/add", {"passkey": text(mine.key.make(bytes(32)))})
        assert unasked.status_code == 409 and "no passkey is being made" in html.unescape(unasked.text).lower()
        begun = await browser.post("/account/passkeys", {"label": "laptop <b>", "password": PASSWORD})
        found = _OFFER.search(begun.text)
        assert begun.status_code == 200 and found is not None
        for junk in ("", "{}", "[]", '{"id": 7}', "x" * 17_000):
            assert (await browser.post("/account/passkeys/add", {"passkey": junk})).status_code == 409
        done = await browser.post("/account/passkeys/add", {"passkey": text(mine.made(html.unescape(found[1])))})
        assert (done.status_code, done.headers["location"]) == (303, "/account?done=passkey-added")
        shown = (await browser.get("/account")).text
        assert "<strong>laptop &lt;b&gt;</strong>" in shown
        ids = re.findall(r'name="passkey" value="([0-9a-f-]{36})"', shown)
        assert (await browser.post("/account/passkeys/remove", {"passkey": ids[1], "password": "wrong"})).status_code == 403
        assert (await browser.post("/account/passkeys/remove", {"passkey": ids[1], "password": PASSWORD})).status_code == 303
        acts = [act for act in held.acts() if isinstance(act, PasskeyChange)]
        assert [(act.act, act.label, act.requested_by) for act in acts] == [
            ("added", "laptop", "grace"), ("added", "laptop <b>", "grace"), ("removed", "laptop <b>", "grace"),
        ]  # fmt: skip


async def test_an_operator_removes_a_lost_passkey(database: Database, tmp_path: Path) -> None:
    """On the page of a person their passkeys stand, and an operator removes one; it is on record as the operator's act."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER):
        await enrolled(held.site.housed.house, "grace")
        async with held.site.signed_in("omar", Role.OPERATOR) as browser:
            shown = (await browser.get("/admin/people/grace")).text
            assert "Remove laptop" in shown and "Remove" not in (await browser.get("/admin/people/omar")).text
            (lost,) = re.findall(r'name="passkey" value="([0-9a-f-]{36})"', shown)
            done = await browser.post("/admin/people/grace/passkey", {"passkey": lost})
            assert (done.status_code, done.headers["location"]) == (303, "/admin/people/grace?done=saved")
            again = await browser.post("/admin/people/grace/passkey", {"passkey": lost})
            assert again.status_code == 409 and "has no such passkey" in html.unescape(again.text)
            assert "No passkey is this person" in (await browser.get("/admin/people/grace")).text
        acts = [(act.act, act.requested_by) for act in held.acts() if isinstance(act, PasskeyChange)]
        assert acts == [("added", "grace"), ("removed", "omar")]


async def test_the_review_page_offers_what_there_is(database: Database, tmp_path: Path) -> None:
    """Only a person with a passkey for this place is offered to sign with one, and what is signed so is on record as that."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold()
        assert "with a passkey" not in await held.shown(browser, generation)
        mine = await enrolled(held.site.housed.house, "grace")
        shown = await held.shown(browser, generation)
        assert 'data-passkeys="AAECAwQFBgcICQoLDA0ODw" data-passkey-for="localhost"' in shown
        assert "Approve with a passkey" in shown and "Reject with a passkey" in shown
        binding = (await held.case(generation)).opened.binding
        done = await send(browser, generation, act="approve", seen="yes", password="", passkey=text(mine.sent(binding)))
        assert done.status_code == 303, done.text
        (signed,) = (await held.case(generation)).signatures
        assert (signed.decided.method, signed.decided.person, signed.decided.meaning) == ("webauthn", "grace", "approval")
        assert "Grace, approval by passkey" in await held.shown(browser, generation)


FORGED: dict[str, Callable[[Held, bytes], dict[str, str]]] = {
    "another binding": lambda mine, _: mine.sent(bytes(32)),
    "a page elsewhere": lambda mine, binding: mine.sent(binding, origin="http://localhost:1"),
    "nobody verified": lambda mine, binding: mine.sent(binding, flags=0x01),
    "another key": lambda mine, binding: Held(mine.place, Authenticator(p256(9))).sent(binding),
    "an unknown one": lambda mine, binding: Held(mine.place, Authenticator(p256(9), b"new")).sent(binding),
}


async def test_what_is_no_signature_signs_nothing(database: Database, tmp_path: Path) -> None:
    """A passkey that does not prove the visitor is refused like a wrong password; a stale one is stale."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        mine, generation = await enrolled(held.site.housed.house, "grace"), await held.hold()
        await held.shown(browser, generation)
        looked, binding = browser.shown, (await held.case(generation)).opened.binding
        for forged in FORGED.values():
            forget(held)
            refused = await rejected(browser, generation, passkey=text(forged(mine, binding)))
            assert refused.status_code == 403 and "That is not your passkey, or it signed something else." in refused.text
            assert "not <b>".replace("<", "&lt;").replace(">", "&gt;") in refused.text
        assert (await rejected(browser, generation, passkey="{}")).status_code == 400
        forget(held)
        change = {"act": "edit", "text": "Another.", "reason": "so"}
        edited = await send(browser, generation, "edit", **change, passkey=text(mine.sent(binding)))
        assert edited.status_code == 303  # by the password that came along: a passkey edits nothing
        browser.shown = looked
        stale = await rejected(browser, generation, passkey=text(mine.sent(binding)))
        assert stale.status_code == 412 and "look again" in stale.text
        only = await send(browser, generation, "edit", **change, password="", passkey=text(mine.sent(binding)))
        assert only.status_code == 403
        case = await held.case(generation)
        assert (case.state, case.signatures) == (State.PENDING, ())


async def rejected(browser: Browser, generation: Any, **fields: str) -> Any:
    """The form of a rejection, without a password."""
    return await send(browser, generation, act="reject", code="unsafe", reason="not <b>", password="", **fields)


def forget(held: HeldSite) -> None:
    """The throttle forgets what was tried, since the right password is given."""
    held.site.housed.house.directory.prover.prove(TENANT, "grace", PASSWORD, Door.INSIDE)


async def test_where_browsers_make_no_passkeys_the_page_says_so(database: Database, tmp_path: Path) -> None:
    """A gateway whose address people use over plain http offers none, and refuses what is sent all the same."""
    elsewhere = held_site(database, tmp_path, base_url="http://gate.example")
    async with elsewhere as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        shown = await browser.get("/account")
        assert "PALIMPSEST_BASE_URL" in shown.text and "Add a passkey" not in shown.text
        sent = await browser.post("/account/passkeys", {"label": "x", "password": PASSWORD})
        assert sent.status_code == 400 and "PALIMPSEST_BASE_URL" in sent.text
