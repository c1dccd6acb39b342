"""The right to decide, lent and ended at the account page, and how the review page names it."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.people.names import Role
from tests.gateway.planted import PASSWORD, plant_user
from tests.gateway.ui.held import LAW, held_site
from tests.gateway.ui.test_reviewing import approve
from tests.postgres_fixtures import Database

_ID = re.compile(r'name="delegation" value="([0-9a-f-]{36})"')


def loan(**change: str) -> dict[str, str]:
    """Lent to `linus` until tomorrow."""
    ends = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}"
    return {"to": "linus", "ends": ends, "reason": "on <leave>", "password": PASSWORD} | change


async def test_a_right_is_lent_used_and_ended(database: Database, tmp_path: Path) -> None:
    """Both see it at their account; a decision made so names both on the review page; ended, it is offered no more."""
    law = LAW.replace("[approvals.one]", '[approvals.one]\ngroups = ["leads"]')
    async with (
        held_site(database, tmp_path, law) as held,
        held.site.signed_in("grace", Role.APPROVER, groups=("leads",)) as grace,
    ):
        generation = await held.hold()
        async with held.site.signed_in("linus", Role.APPROVER) as linus:
            await grace.get("/account")
            done = await grace.post("/account/delegations", loan(group="leads"))
            assert (done.status_code, done.headers["location"]) == (303, "/account?done=lent")
            shown = (await grace.get("/account")).text
            assert "linus decides for you</strong> in leads" in shown and "on &lt;leave&gt;" in shown
            assert "You decide for grace" in (await linus.get("/account")).text
            assert "<option>grace</option>" in await held.shown(linus, generation)
            assert (await approve(linus, generation, behalf="grace")).status_code == 303
            assert "Linus for grace, approval" in html.unescape(await held.shown(linus, generation))
            (lent,) = _ID.findall(shown)
            assert (await linus.post("/account/delegations/end", {"delegation": lent, "password": PASSWORD})).status_code == 409
            wrong = await grace.post("/account/delegations/end", {"delegation": lent, "password": "wrong wrong wrong"})
            assert wrong.status_code == 403
            ended = await grace.post("/account/delegations/end", {"delegation": lent, "password": PASSWORD})
            assert (ended.status_code, ended.headers["location"]) == (303, "/account?done=ended")
            assert "linus decides for you" not in (await grace.get("/account")).text
            assert "In whose right" not in await held.shown(linus, await held.hold())


async def test_what_cannot_be_lent_is_told_in_place(database: Database, tmp_path: Path) -> None:
    """A wrong password, nobody, no time or the past are told on the page, with what was filled in, and nothing is recorded."""
    refused = (
        (403, loan(password="wrong wrong wrong"), "is not proved"), (409, loan(to="nobody"), "Name another enabled user"),
        (409, loan(ends="soon"), "Say when it begins and ends"), (409, loan(ends="2020-01-01T00:00"), "in the future"),
        (409, loan(starts="0001-01-01T00:00"), "in the future"), (409, loan(reason=" "), "Say why"),
        (409, loan(ends="2099-01-01T00:00+02:00"), "Say when it begins and ends"),
    )  # fmt: skip
    plant_user(database.app_url, "acme", "linus", Role.APPROVER)
    async with held_site(database, tmp_path) as held, held.site.signed_in("grace", Role.APPROVER) as grace:
        await grace.get("/account")
        for status, form, told in refused:
            answer = await grace.post("/account/delegations", form)
            assert answer.status_code == status and told in answer.text, answer.text
            assert 'value="on &lt;leave&gt;"' in answer.text or form["reason"] == " "
        assert await held.site.housed.house.approvals.delegations("acme") == ()
        async with held.site.signed_in("ada", Role.AUDITOR) as auditor:
            assert "Deciding for one another" not in (await auditor.get("/account")).text
            assert (await auditor.post("/account/delegations", loan())).status_code == 403
