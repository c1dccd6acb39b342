"""Signing in and out at the pages."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from gateway.people.names import Role
from tests.audit.writer_samples import TENANT
from tests.gateway.planted import plant_user
from tests.gateway.ui.browsing import Site, site
from tests.postgres_fixtures import Database
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_page_is_shown_after_sign_in_and_not_before(shared: Site) -> None:
    """Whoever is not signed in is asked to and led back to the page; signing out ends the session at once."""
    async with shared.browser() as browser:
        plant_user(shared.database.app_url, TENANT, "ada", Role.OPERATOR)
        turned_away = await browser.get("/patterns?row=1")
        assert (turned_away.status_code, turned_away.headers["location"]) == (303, "/sign-in?next=/patterns%3Frow%3D1")
        welcome = await browser.sign_in("ada", onward="/patterns?row=1")
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/patterns?row=1")
        shown = await browser.get("/patterns?row=1")
        assert shown.status_code == 200 and "Ada" in shown.text
        kept = dict(browser.client.cookies)
        assert (await browser.post("/sign-out", {})).headers["location"] == "/sign-in?done=signed-out"
        browser.client.cookies.update(kept)
        assert (await browser.get("/patterns")).status_code == 303


async def test_a_part_of_a_page_is_never_a_sign_in_form(shared: Site) -> None:
    """When the session has ended, what a page fetches by itself leads the whole page to sign in and back to where it was."""
    async with shared.signed_in("nina", Role.APPROVER) as browser:
        await browser.get("/approvals?mode=ar")
        await browser.post("/sign-out", {})
        for part in ("/approvals?mode=ar", "/approvals/queue?chosen=", "/generations?mode=ar"):
            asked = {"hx-request": "true", "hx-current-url": "http://housed/approvals?mode=ar"}
            refused = await browser.get(part, **asked)
            assert (refused.status_code, refused.headers["hx-redirect"]) == (401, "/sign-in?next=/approvals%3Fmode%3Dar"), part
            assert "location" not in refused.headers
        for hostile in ("", "http://[", "https://evil.example//evil.example/x"):
            refused = await browser.get("/approvals", **{"hx-request": "true", "hx-current-url": hostile})
            assert refused.status_code == 401 and refused.headers["hx-redirect"].startswith("/sign-in"), hostile


async def test_a_refusal_is_in_plain_words_and_the_pause_is_said(shared: Site) -> None:
    """A wrong password, an unknown name and an impossible tenant read the same; after three the wait is told in seconds."""
    async with shared.browser() as browser:
        plant_user(shared.database.app_url, TENANT, "bob", Role.OPERATOR)
        for tenant, name in ((TENANT, "bob"), (TENANT, "nobody"), ("No Tenant", "bob")):
            refused = await browser.sign_in(name, tenant, password="wrong wrong wrong")
            assert refused.status_code == 401
            assert "No such user, a wrong password, or a disabled user." in refused.text
            assert "palimpsest_session" not in refused.headers.get("set-cookie", "")
        for _ in range(2):
            await browser.sign_in("bob", password="wrong wrong wrong")
        with psycopg.connect(shared.database.superuser_url) as meanwhile:  # so that no slow machine outlasts the pause
            meanwhile.execute("UPDATE app.attempt SET blocked_until = now() + interval '1 hour' WHERE blocked_until > last_at")
        paused = await browser.sign_in("bob")
        assert paused.status_code == 429 and 3000 < int(paused.headers["retry-after"]) <= 3600
        assert f"Wait {paused.headers['retry-after']} s" in paused.text


async def test_a_session_cannot_be_prepared_for_somebody(shared: Site) -> None:
    """A session cookie that was there before sign-in is replaced by another, and opens nothing afterwards."""
    async with shared.browser() as attacker, shared.browser() as victim:
        plant_user(shared.database.app_url, TENANT, "mallory")
        plant_user(shared.database.app_url, TENANT, "cleo", Role.OPERATOR)
        await attacker.sign_in("mallory")
        prepared = attacker.client.cookies["palimpsest_session"]
        victim.client.cookies.set("palimpsest_session", prepared, domain="housed.local")
        await victim.sign_in("cleo")
        assert victim.client.cookies["palimpsest_session"] != prepared
        assert (await attacker.get("/patterns")).status_code == 303


async def test_a_flood_of_names_takes_no_thread_from_the_log(shared: Site) -> None:
    """However many sign in at once, the threads that sign the log stay free, and whoever finds no place is told on the form."""
    async with shared.browser() as browser:
        await browser.get("/sign-in")
        with psycopg.connect(shared.database.superuser_url) as meanwhile:
            meanwhile.execute("LOCK TABLE app.attempt")  # so that no password is looked at before this ends
            names = [{"tenant": TENANT, "name": f"made-up-{each}", "password": "wrong wrong wrong"} for each in range(60)]
            flood = [asyncio.create_task(browser.post("/sign-in", fields)) for fields in names]
            await until(lambda: any(each.done() for each in flood))
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "signed"), 20) == "signed"
            turned_away = [each.result() for each in flood if each.done()]
            assert turned_away and {answer.status_code for answer in turned_away} == {429}
            assert all(int(answer.headers["retry-after"]) > 0 for answer in turned_away)
            assert "Too many passwords are being checked" in turned_away[0].text
            assert 'name="password"' in turned_away[0].text
        answers = await asyncio.gather(*flood)
        assert {answer.status_code for answer in answers} == {401, 429}


async def test_cookies_are_for_this_origin_alone(database: Database, tmp_path: Path) -> None:
    """No script reads a cookie and no other site sends one; where people come by https none travels without it."""
    async with site(database, tmp_path, base_url="https://palimpsest.example") as here, here.browser() as browser:
        plant_user(database.app_url, TENANT, "ada", Role.OPERATOR)
        shown = await browser.get("/sign-in")
        visit = shown.cookies.get("__Host-palimpsest_visit") or shown.headers["set-cookie"].split("=", 1)[1].split(";")[0]
        fields = {"tenant": TENANT, "name": "ada", "password": "correct horse battery"}
        cookie = {"cookie": f"__Host-palimpsest_visit={visit}"}
        answer = await browser.client.post("/sign-in", data=browser.secrets | fields, headers=cookie)
        session = next(line for line in answer.headers.get_list("set-cookie") if "session" in line)
        assert session.startswith("__Host-palimpsest_session=")
        assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(session.split("; "))
        assert "Domain" not in session
