"""Held answers at the pages, without a browser: what is shown, what is signed, and what is refused."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from uuid import UUID

import httpx

from audit.acts import Access
from audit.lifecycle import Warrant
from gateway.approvals.case import State
from gateway.approvals.rules import MOST_TEXT
from gateway.people.hashing import Line
from gateway.people.names import Role
from gateway.review.player import player_of
from gateway.review.review import review_of
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import tiny
from tests.gateway.people.crowding import crowded
from tests.gateway.planted import PASSWORD, plant_tenant
from tests.gateway.ui.browsing import Browser
from tests.gateway.ui.held import held_site
from tests.postgres_fixtures import Database
from tests.waiting import until

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
        house = held.site.housed.house
        await house.evidence.proof(TENANT, case.last_seq)  # which waits for the next checkpoint
        assert "verified to" in (await browser.get(f"/drafts/{generation}/proof")).text
        await held.shown(browser, generation)
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


async def test_what_was_filled_in_outlasts_a_crowd(database: Database, tmp_path: Path) -> None:
    """Where too many give passwords at once, nothing is signed, and the page says so and keeps what was filled in."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold()
        await held.shown(browser, generation)
        async with crowded(Line.PEOPLE):
            refused = await send(browser, generation, act="reject", code="unsafe", reason="it drops a table")
            await browser.get("/account")
            elsewhere = await browser.post("/account/password", {"password": PASSWORD, "new_password": "another good password"})
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
        assert "Nothing was signed." in refused.text and "it drops a table</textarea>" in refused.text
        assert elsewhere.status_code == 429 and int(elsewhere.headers["retry-after"]) > 0
        assert (await held.case(generation)).signatures == ()


async def test_an_operator_reads_what_is_held_and_nothing_else(database: Database, tmp_path: Path) -> None:
    """Prompts, answers and drafts are for approvers and auditors; an operator reads a held answer, to break the glass."""
    async with held_site(database, tmp_path) as held:
        generation = await held.hold()
        await held.site.housed.house.projector.look(TENANT)
        about = f"/generations/{generation}"
        drafts = f"/drafts/{generation}"
        content = (f"{about}/reading", f"{about}/live", f"{drafts}/player.json", f"{drafts}/compare")
        for name, role, status in (("arno", Role.AUDITOR, 200), ("olga", Role.OPERATOR, 403), ("paul", Role.POLICY_ADMIN, 403)):
            async with held.site.signed_in(name, role) as browser:
                assert [(await browser.get(path)).status_code for path in content] == [status] * 4, name
                shown = (await browser.get(about)).text
                assert (f"{about}/reading" in shown) is (status == 200) and "ask for the proof" in shown
                assert (await browser.get(f"{drafts}/proof")).status_code == 200
        reads = [body.requested_by for body in held.acts() if isinstance(body, Access)]
        assert reads == ["arno"], "what is refused is not read"
        async with held.site.signed_in("omar", Role.OPERATOR) as browser:
            shown = await held.shown(browser, generation)
            assert "data-sheet" in shown and "data-player" not in shown and drafts + "/compare" not in shown
            broken = await send(browser, generation, "more", act="glass", reason="the house is on fire")
            assert broken.status_code == 303
        assert (await held.case(generation)).broke_glass


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


async def test_an_operator_reads_no_answer_that_is_over(database: Database, tmp_path: Path) -> None:
    """Whoever may break the glass reads what waits; once it is decided its text is for approvers and auditors."""
    async with held_site(database, tmp_path) as held:
        generation = await held.hold()
        async with held.site.signed_in("olga", Role.OPERATOR) as browser:
            await held.shown(browser, generation)
            over = await send(browser, generation, "more", act="cancel")
            assert (over.status_code, over.headers["location"]) == (303, "/approvals?done=saved")
            again = await send(browser, generation, "more", act="cancel")
            assert (again.status_code, "This answer was cancelled already." in again.text) == (409, True), "of a double click"
            assert "data-sheet" not in again.text
            assert (await browser.get(f"/approvals/{generation}")).status_code == 403
        async with held.site.signed_in("arno", Role.AUDITOR) as browser:
            assert "data-sheet" in await held.shown(browser, generation)
        reads = [body.requested_by for body in held.acts() if isinstance(body, Access)]
        assert reads == ["olga", "arno"], "what is refused is not read"


async def test_nothing_that_somebody_wrote_turns_the_direction_of_a_page(database: Database, tmp_path: Path) -> None:
    """Names and reasons that clients and people give are spelled like answers: what has no shape of its own is written out."""
    turned = "safe\u202eevil\u200b"
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", *Role) as browser:
        generation = await held.hold(workflow=turned)
        await held.site.housed.house.projector.look(TENANT)
        await browser.get("/retention")
        hold = {"reason": turned, "password": PASSWORD}
        assert (await browser.post("/retention/hold", hold)).status_code == 303
        about = f"/generations/{generation}"
        held_places = (
            "/approvals",
            "/approvals/queue",
            f"/approvals/{generation}",
            f"/policies/explain?generation={generation}",
        )
        for path in (*held_places, "/generations", about, "/retention"):
            shown = (await browser.get(path)).text
            assert "\u202e" not in shown and "\u200b" not in shown, path
            assert "safe⟨U+202E⟩evil⟨U+200B⟩" in shown, path


async def test_an_erased_answer_is_gone_and_no_fault(database: Database, tmp_path: Path) -> None:
    """Of a held answer whose subject was erased pages and forms say that it can no longer be read, by status 410 as the API."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold()
        shown = await held.shown(browser, generation)
        subject = (await held.case(generation)).opened.requester
        await held.site.housed.house.lifecycle.erase(TENANT, subject, Warrant("asked to be forgotten", "olga", "arno"))
        for path in (f"/approvals/{generation}", f"/approvals/{generation}/standing"):
            gone = await browser.get(path)
            assert (gone.status_code, "keys were erased" in gone.text) == (410, True), path
        assert (await browser.get("/approvals")).status_code == 200
        browser.shown = shown
        assert (await approve(browser, generation)).status_code == 410


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


async def test_an_edit_may_be_as_long_as_the_rules_say(database: Database, tmp_path: Path) -> None:
    """A form takes every text that an edit may have, in any script; a longer one is refused in place, and nothing is lost."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold()
        await held.shown(browser, generation)
        long = "字" * (MOST_TEXT // 3) + "x"
        refused = await send(browser, generation, "edit", act="edit", text=f"{long}x", reason="all of it")
        assert refused.status_code == 403 and "1 byte to 4 MiB" in refused.text and f"{long}x</textarea>" in refused.text
        assert (await send(browser, generation, "edit", act="edit", text=long, reason="all of it")).status_code == 303
        assert (await held.case(generation)).opened.content == long


async def test_what_changed_since_one_read_it_is_offered(database: Database, tmp_path: Path) -> None:
    """Who had read an answer before somebody edited it is led to the difference; who had not, and the first time, is not."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation, house = await held.hold(), held.site.housed.house
        assert "data-changed" not in await held.shown(browser, generation)
        async with held.site.signed_in("linus", Role.APPROVER) as other:
            await held.shown(other, generation)
            await send(other, generation, "edit", act="edit", text="A better answer.", reason="clearer")
        async with held.site.signed_in("mary", Role.APPROVER) as third:
            await house.projector.look(TENANT)
            assert "data-changed" not in await held.shown(third, generation)
            shown = await held.shown(browser, generation)
            assert "You read cycle 1 of this answer; it is in cycle 2 now." in shown
            (offered,) = re.findall(rf'href="(/drafts/{generation}/compare[^"]*)"', shown)
            difference = (await browser.get(offered.replace("&amp;", "&"))).text
            assert "<ins>" in difference and offered.endswith("old=answer&amp;new=cycle-2")
            await send(third, generation, "edit", act="edit", text="The best answer.", reason="better still")
        await house.projector.look(TENANT)
        assert "You read cycle 2 of this answer; it is in cycle 3 now." in await held.shown(browser, generation)
        reads = [body for body in held.acts() if isinstance(body, Access) and body.requested_by == "grace"]
        assert len({read.last for read in reads}) == 3


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
        assert str(generation) in queue.text and "release" in queue.text and "0; 1 for one, 2 for two" in queue.text
        assert str(generation) not in (await browser.get("/approvals?mode=ar")).text
        for nonsense in ("state=nonsense", "sort=tenant", "sort=left&order=down"):
            assert (await browser.get(f"/approvals?{nonsense}")).status_code == 400
        later = await held.hold(workflow=" ")
        await held.site.housed.house.projector.look(TENANT)
        lists = {
            sort: (await browser.get(f"/approvals?sort={sort}")).text for sort in ("held", "held&order=up", "left&order=up")
        }
        places = {sort: (text.index(f"row-{generation}"), text.index(f"row-{later}")) for sort, text in lists.items()}
        assert places["held"][0] > places["held"][1] and places["held&order=up"][0] < places["held&order=up"][1]
        assert 'aria-sort="descending"' in lists["held"] and re.search(
            rf"{later}\">linear spec answer, \d+ tokens<", lists["held"]
        )
        await held.shown(browser, generation)
        taken = await browser.post(f"/approvals/{generation}/desk", {"do": "take"})
        assert taken.headers["location"].endswith("done=desk")
        assert "assigned to you, you are reading it" in await held.shown(browser, generation)
        async with held.site.signed_in("linus", Role.APPROVER) as other:
            await held.shown(other, generation)
            late = await other.post(f"/approvals/{generation}/desk", {"do": "lock"})
            assert late.headers["location"].endswith("done=taken")
            assert "grace is reading it" in await held.shown(other, generation)
            refused = await other.post(f"/approvals/{generation}/desk", {"do": "take"})
            assert refused.headers["location"].endswith("done=taken")
            assert "assigned to grace, grace is reading it" in await held.shown(other, generation), "nothing was done"
        async with held.site.signed_in("vera", Role.AUDITOR) as auditor:
            assert "assigned to grace" in (told := await held.shown(auditor, generation)) and "Take it" not in told
            assert (await auditor.post(f"/approvals/{generation}/desk", {"do": "take"})).status_code == 403


async def test_readers_take_no_thread_from_the_log(database: Database, tmp_path: Path) -> None:
    """However many people read long answers at once, the threads that sign the log and look up keys stay free."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.say("abc def " * 2_000)
        places = (f"/drafts/{generation}/player.json", f"/generations/{generation}/reading", f"/drafts/{generation}/compare")
        assert (await browser.get(places[0])).status_code == 200, "that it is read is on record"
        reads = [asyncio.create_task(browser.get(place)) for place in places * 10]
        await until(lambda: any(read.done() for read in reads))
        for _ in range(20):  # each would wait behind every reader that has come
            assert await asyncio.to_thread(lambda: "signed") == "signed"
        assert sum(read.done() for read in reads) < len(reads) // 2
        assert {answer.status_code for answer in await asyncio.gather(*reads)} == {200}


async def test_nobody_sees_what_is_not_theirs(database: Database, tmp_path: Path) -> None:
    """Without a reading role, from another tenant, or for a generation that is not held, nothing is shown or done."""
    async with held_site(database, tmp_path) as held, held.site.signed_in("ada", Role.CALLER) as caller:
        generation = await held.hold()
        drafts = f"/drafts/{generation}"
        for path in (f"/approvals/{generation}", "/approvals", f"{drafts}/player.json", f"{drafts}/proof"):
            assert (await caller.get(path)).status_code == 403
        async with held.site.signed_in("auditor", Role.AUDITOR) as auditor:
            nothing = "00000000-0000-7000-8000-000000000000"
            for path in (
                f"/approvals/{nothing}",
                *(f"/drafts/{nothing}/{part}" for part in ("proof", "compare", "player.json")),
            ):
                assert (await auditor.get(path)).status_code == 404, path
            shown = await held.shown(auditor, generation)
            assert "Deciding this takes the role approver" in shown
            opened = (await held.case(generation)).opened
            digests = {"content": opened.content_sha256.hex(), "binding": opened.binding.hex()}
            assert (await approve(auditor, generation, **digests)).status_code == 403
        assert (await held.case(generation)).signatures == ()


async def test_another_tenants_answer_is_told_from_none_by_nothing(database: Database, tmp_path: Path) -> None:
    """Whatever is asked about a generation of another tenant, the page is the one for a generation that there is not."""
    async with held_site(database, tmp_path) as held:
        generation, nothing = await held.hold(), UUID(int=7)
        plant_tenant(database.app_url, "other")
        async with held.site.signed_in("eve", Role.APPROVER, Role.AUDITOR, tenant="other") as eve:
            for path in (
                "approvals/{}",
                "approvals/{}/standing",
                "drafts/{}/proof",
                "drafts/{}/compare",
                "drafts/{}/player.json",
            ):
                theirs, none = [await eve.get(f"/{path.format(each)}") for each in (generation, nothing)]
                assert theirs.status_code == none.status_code == 404, path
                assert theirs.text.replace(str(generation), "") == none.text.replace(str(nothing), "")
