"""What is said on the review page after an act and of a broken glass, and how an answer stands there that is very long."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.approvals.choices import Cleared
from gateway.people.names import Role
from tests.audit.writer_samples import TENANT
from tests.gateway.ui.held import held_site
from tests.gateway.ui.test_reviewing import approve, send
from tests.postgres_fixtures import Database


async def test_a_link_says_only_what_is_true(database: Database, tmp_path: Path) -> None:
    """What the page says after an act it says to whoever did it, of the answer that it was done to, and while it holds."""
    signed = "Your approval is signed and on record."
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation, other = await held.hold(workflow="release"), await held.hold()
        await held.shown(browser, generation)
        link = (await approve(browser, generation)).headers["location"]
        assert signed in (await browser.get(link)).text
        for path in (f"/approvals/{other}?done=approved", f"/approvals/{generation}?done=rejected", "/approvals?done=approved"):
            assert "on record." not in (await browser.get(path)).text, path
        async with held.site.signed_in("linus", Role.APPROVER) as stranger:
            assert signed not in (await stranger.get(link)).text
        await held.shown(browser, generation)
        back = await send(browser, generation, "more", act="revoke", reason="too early")
        assert "No decision of yours stands." in (await browser.get(back.headers["location"])).text
        assert signed not in (await browser.get(link)).text


async def test_an_operator_looks_at_a_broken_glass(database: Database, tmp_path: Path) -> None:
    """The page has the form, who broke it and why, and no text; whoever broke it gets none, and once it is done nobody does."""
    async with held_site(database, tmp_path) as held:
        generation = await held.hold()
        house = held.site.housed.house
        async with held.site.signed_in("olga", Role.OPERATOR) as breaker:
            await held.shown(breaker, generation)
            done = await send(breaker, generation, "more", act="glass", reason="the <b>line</b> stands still")
            assert done.status_code == 303
            assert isinstance(await house.approvals.release(TENANT, generation, generation), Cleared)
            assert (await breaker.get(f"/approvals/{generation}")).status_code == 403
        async with held.site.signed_in("otto", Role.OPERATOR) as browser:
            shown = await held.shown(browser, generation)
            assert "the &lt;b&gt;line&lt;/b&gt; stands still" in shown and "olga" in shown and "data-sheet" not in shown
            wrong = await send(browser, generation, "more", act="review", reason="seen", password="not it, not it")
            assert wrong.status_code == 403 and "That is not your password." in wrong.text and "A broken glass" in wrong.text
            done = await send(browser, generation, "more", act="review", reason="it had to be")
            assert (done.status_code, done.headers["location"]) == (303, "/approvals?done=saved")
            assert (await browser.get(f"/approvals/{generation}")).status_code == 403
        assert [each.person for each in (await held.case(generation)).after] == ["otto"]


async def test_many_lines_are_shown_whole(database: Database, tmp_path: Path) -> None:
    """An edit of more lines than a page has rows is there to its end, and the page says how it stands; so it is approved."""
    text = "\n".join(f"line {number} of it" for number in range(25_500)) + "\nthe <end>"
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as browser:
        generation = await held.hold()
        await held.shown(browser, generation)
        assert (await send(browser, generation, "edit", act="edit", text=text, reason="all of it")).status_code == 303
        async with held.site.signed_in("linus", Role.APPROVER) as other:
            shown = await held.shown(other, generation)
            sheet = shown[shown.index("data-sheet") : shown.index("data-player")]
            assert "too long to be laid out" in shown and "from line 20 001 on" in shown
            assert "line 20001 of it\nline 20002 of it" in sheet and "the &lt;end&gt;" in sheet
            assert len(re.findall(r"<li[^>]* data-line>", sheet[: sheet.index("<details")])) == 20_006
            assert (await approve(other, generation)).status_code == 303
