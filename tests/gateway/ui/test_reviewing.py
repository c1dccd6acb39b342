"""Held answers at the pages, without a browser: what is shown, what is signed, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import UUID

import httpx

from audit.acts import Access
from gateway.approvals.case import State
from gateway.people.names import Role
from gateway.review.player import player_of
from gateway.review.review import review_of
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import tiny
from tests.gateway.planted import PASSWORD
from tests.gateway.ui.browsing import Browser
from tests.gateway.ui.held import held_site
from tests.postgres_fixtures import Database

_FIELD = re.compile(r'<input type="hidden" name="(content|binding|since)" value="([^"]*)">')


async def send(browser: Browser, generation: UUID, what: str = "decision", **fields: str) -> httpx.Response:
    """A form of the review page as it was shown, filled in so."""
    looked = dict(_FIELD.findall(browser.shown))
    return await browser.post(f"/approvals/{generation}/{what}", looked | {"password": PASSWORD} | fields)


async def approve(browser: Browser, generation: UUID, **fields: str) -> httpx.Response:
    """The form of an approval."""
    return await send(browser, generation, **({"act": "approve", "seen": "yes", "meaning": "approval"} | fields))


async def test_a_held_answer_is_read_and_approved(database: Database, tmp_path: Path) -> None:
    """The page shows text and evidence, that it was read is on record once, and a signature with a password approves."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold()
        shown = await held.shown(browser, generation)
        case = await held.case(generation)
        assert "a person reads every answer" in shown and "rule:everything" in shown
        assert case.content_sha256.hex() in shown and "verify now" in shown
        again = await held.shown(browser, generation)
        assert again
        reads = [body for body in held.acts() if isinstance(body, Access)]
        assert [(read.request, read.requested_by) for read in reads] == [(generation, "grace")]
        done = await approve(browser, generation)
        assert (done.status_code, done.headers["location"]) == (303, f"/approvals/{generation}?done=approved")
        case = await held.case(generation)
        (signed,) = case.signatures
        assert case.state is State.APPROVED
        assert (signed.decided.person, signed.decided.meaning, signed.decided.method) == ("grace", "approval", "password")


async def test_a_wrong_password_signs_nothing(database: Database, tmp_path: Path) -> None:
    """A password that is not one's own is told on the page, with what was filled in, and nothing is recorded."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold()
        await held.shown(browser, generation)
        filled = {"act": "reject", "code": "unsafe", "reason": "not <b>safe</b>"}
        refused = await send(browser, generation, **filled, password="wrong wrong wrong")
        assert refused.status_code == 403 and "That is not your password. Nothing was signed." in refused.text
        assert "not &lt;b&gt;safe&lt;/b&gt;</textarea>" in refused.text
        unread = await approve(browser, generation, seen="")
        assert unread.status_code == 403 and "once all of it has been read" in unread.text
        assert (await held.case(generation)).signatures == ()


async def test_a_rejection_has_a_code_and_words(database: Database, tmp_path: Path) -> None:
    """A rejection without a code is refused; with one it ends the approval, and the words are kept for the client."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold()
        await held.shown(browser, generation)
        assert (await send(browser, generation, act="reject", code="")).status_code == 403
        done = await send(browser, generation, act="reject", code="unsafe", reason="Ask for a lower fee.")
        assert done.status_code == 303
        case = await held.case(generation)
        assert (case.state, case.words) == (State.REJECTED, "Ask for a lower fee.")
        assert "Nothing can be decided any more" in await held.shown(browser, generation)


async def test_an_edit_begins_a_cycle_that_its_editor_cannot_approve(database: Database, tmp_path: Path) -> None:
    """The edited text takes the place of the answer, its difference is shown, and somebody else approves it."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold()
        await held.shown(browser, generation)
        stale = browser.shown
        done = await send(browser, generation, "edit", act="edit", text="A better answer.\r\n", reason="clearer")
        assert done.status_code == 303, done.text
        case = await held.case(generation)
        assert (case.opened.cycle, case.opened.content, case.state) == (2, "A better answer.\n", State.PENDING)
        shown = await held.shown(browser, generation)
        assert "What editors changed" in shown and "You are involved in this answer" in shown
        browser.shown = stale
        refused = await send(browser, generation, act="reject", code="wrong")
        assert refused.status_code == 412 and "look again" in refused.text
        async with held.site.signed_in("linus", Role.APPROVER) as other:
            await held.shown(other, generation)
            assert (await approve(other, generation)).status_code == 303
        assert (await held.case(generation)).state is State.APPROVED


async def test_two_people_sign_what_needs_two(database: Database, tmp_path: Path) -> None:
    """One signature of two leaves it pending and cannot be given twice; the second person's approves it."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold(workflow="release")
        await held.shown(browser, generation)
        answer = await approve(browser, generation)
        assert answer.status_code == 303, answer.text
        assert (await held.case(generation)).state is State.PENDING
        shown = await held.shown(browser, generation)
        assert "You have decided this already" in shown
        assert (await approve(browser, generation)).status_code == 409
        async with held.site.signed_in("linus", Role.APPROVER) as other:
            await held.shown(other, generation)
            assert (await approve(other, generation)).status_code == 303
        assert (await held.case(generation)).state is State.APPROVED


async def test_the_player_is_served_the_logs_own_states(database: Database, tmp_path: Path) -> None:
    """What the page fetches is what the pure model makes of the records in the log, in every mode."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.AUDITOR) as browser:
        for mode in ("diffusion", "linear_spec", "quadratic_spec", "ar"):
            generation = await held.hold("Write a function that adds two numbers.", mode)
            data = (await browser.get(f"/drafts/{generation}/player.json")).json()
            review = review_of(held.site.housed.log.bodies(generation), tiny().tokenizer.decode_bytes)
            assert data == json.loads(json.dumps(player_of(review))) and data["frames"]
            last = data["frames"][-1]["number"]
            compared = await browser.get(f"/drafts/{generation}/compare?old=step-0&new=step-{last}")
            assert compared.status_code == 200 and "difference" in compared.text
        assert (await browser.get(f"/drafts/{generation}/compare?old=step-9999")).status_code == 404


async def test_the_queue_shows_who_waits_and_whose_desk_it_is(database: Database, tmp_path: Path) -> None:
    """A held answer stands in the queue until it is decided, found by filters, with the person who reads it."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold(workflow="release")
        await held.site.housed.house.projector.look(TENANT)
        queue = await browser.get("/approvals")
        assert str(generation) in queue.text and "release" in queue.text and "0 of 3" in queue.text
        assert str(generation) not in (await browser.get("/approvals?mode=ar")).text
        assert (await browser.get("/approvals?state=nonsense")).status_code == 400
        await held.shown(browser, generation)
        taken = await browser.post(f"/approvals/{generation}/desk", {"do": "take"})
        assert taken.headers["location"].endswith("done=desk")
        assert "assigned to you, you are reading it" in await held.shown(browser, generation)
        async with held.site.signed_in("linus", Role.APPROVER) as other:
            await held.shown(other, generation)
            late = await other.post(f"/approvals/{generation}/desk", {"do": "lock"})
            assert late.headers["location"].endswith("done=taken")
            assert "grace is reading it" in await held.shown(other, generation)


async def test_nobody_sees_what_is_not_theirs(database: Database, tmp_path: Path) -> None:
    """Without a reading role, from another tenant, or for a generation that is not held, nothing is shown or done."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("ada", Role.CALLER) as caller:
        generation = await held.hold()
        drafts = f"/drafts/{generation}"
        for path in (f"/approvals/{generation}", "/approvals", f"{drafts}/player.json", f"{drafts}/proof"):
            assert (await caller.get(path)).status_code == 403
        async with held.site.signed_in("auditor", Role.AUDITOR) as auditor:
            assert (await auditor.get("/approvals/00000000-0000-7000-8000-000000000000")).status_code == 404
            shown = await held.shown(auditor, generation)
            assert "Deciding this takes the role approver" in shown
            opened = (await held.case(generation)).opened
            digests = {"content": opened.content_sha256.hex(), "binding": opened.binding.hex()}
            assert (await approve(auditor, generation, **digests)).status_code == 403
        assert (await held.case(generation)).signatures == ()
