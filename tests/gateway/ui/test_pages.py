"""Every page, for everybody whom it is for and for nobody else."""

from __future__ import annotations

import re
from urllib.parse import quote
from uuid import UUID

import pytest

from audit.writer import SYSTEM
from gateway.people.names import Role
from gateway.ui.rendering import PLACES
from tests.audit.writer_samples import TENANT
from tests.gateway.planted import plant_key, plant_tenant
from tests.gateway.ui.addresses import CHANGE, READ
from tests.gateway.ui.browsing import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALL = tuple(Role)
TABLES = ("/generations", "/economics", "/log", "/exports", "/retention", "/policies", "/admin", "/admin/keys", "/approvals")


async def asked(shared: Site) -> UUID:
    """The id of a request that was answered and that the projections have followed."""
    answer = await shared.housed.ask("hello")
    await shared.housed.house.projector.look(TENANT)
    return UUID(answer.headers["x-request-id"])


async def test_every_page_opens(shared: Site) -> None:
    """Whoever has all roles opens every page, before anything was asked and after."""
    async with shared.signed_in("opener", *ALL) as browser:
        for path in (*TABLES, "/patterns", "/account", "/admin/people/opener"):
            shown = await browser.get(path)
            assert shown.status_code == 200 and "<h1" in shown.text, (path, shown.text[-800:])
        request = await asked(shared)
        for path in (
            *TABLES,
            f"/generations/{request}",
            f"/generations/{request}/reading",
            f"/policies/explain?generation={request}",
        ):
            shown = await browser.get(path)
            assert shown.status_code == 200 and "<h1" in shown.text, (path, shown.text[-800:])
        found = await browser.get("/generations?mode=linear_spec&state=answered&since=2020-01-01")
        assert str(request) in found.text
        assert "No generation is like that." in (await browser.get("/generations?mode=ar")).text


async def test_a_whole_text_finds_its_answer(shared: Site) -> None:
    """The text is looked for to the letter, and its digest, never itself, stands in the address of what was found."""
    async with shared.signed_in("finder", Role.AUDITOR) as browser:
        answer = await shared.housed.ask("hello")
        await shared.housed.house.projector.look(TENANT)
        text = answer.json()["choices"][0]["message"]["content"]
        led = await browser.get(f"/generations?mode=linear_spec&text={quote(text)}")
        assert led.status_code == 303 and "text=" not in led.headers["location"].replace("text_sha256=", "")
        found = await browser.get(led.headers["location"])
        assert answer.headers["x-request-id"] in found.text
        assert "No generation is like that." in (await browser.get("/generations?text_sha256=" + "0" * 64)).text


async def test_a_caller_opens_no_page_of_the_house(shared: Site) -> None:
    """Who only asks the model is told so; every page and form that needs a role answers 403."""
    async with shared.signed_in("eve", Role.CALLER) as browser:
        home = await browser.get("/")
        assert home.status_code == 200 and "none of the pages here is for your roles" in home.text
        await browser.get("/account")
        for route in (route for route in READ if route.roles):
            assert (await browser.get(route.at({}))).status_code == 403, route
        await browser.get("/account")
        for route in (route for route in CHANGE if route.roles):
            refused = await browser.post(route.at({}), {})
            assert refused.status_code == 403 and "takes the role" in refused.text, route


@pytest.mark.parametrize("role", [Role.APPROVER, Role.AUDITOR, Role.POLICY_ADMIN, Role.OPERATOR])
async def test_the_navigation_shows_what_opens(shared: Site, role: Role) -> None:
    """A place stands in the navigation exactly if it opens for the person's role."""
    async with shared.signed_in(f"one-{role.value}", role) as browser:
        home = await browser.get("/")
        assert home.headers["location"] == next(place.path for place in PLACES if role in place.roles)
        shown = (await browser.get("/account")).text
        for place in PLACES:
            opens = (await browser.get(place.path)).status_code == 200
            assert (f'<a href="{place.path}"' in shown) is opens is (role in place.roles), place


async def test_people_of_system_pick_a_tenant(shared: Site) -> None:
    """Whoever is of `system` sees the tenant that was picked, and nobody else can pick another than the own."""
    plant_tenant(shared.database.app_url, "globex")
    plant_key(shared.database.app_url, "globex", "of globex")
    async with shared.signed_in("root", *ALL, tenant=SYSTEM) as browser:
        await browser.get("/admin/keys")
        picked = await browser.post("/tenant", {"tenant": "globex", "back": "/admin/keys"})
        assert picked.headers["location"] == "/admin/keys"
        shown = await browser.get("/admin/keys")
        assert "API keys of globex" in shown.text and "of globex" in shown.text
        assert (await browser.post("/tenant", {"tenant": "nowhere"})).status_code == 404
    async with shared.signed_in("picky", *ALL) as browser:
        await browser.get("/admin/keys")
        assert (await browser.post("/tenant", {"tenant": "globex"})).status_code == 404
        browser.client.cookies.set("palimpsest_tenant", "globex", domain="housed.local")
        assert "of globex" not in (await browser.get("/admin/keys")).text


async def test_a_form_of_another_window_changes_no_other_tenant(shared: Site) -> None:
    """A form that was shown for one tenant does nothing once another is in view."""
    plant_tenant(shared.database.app_url, "globex")
    async with shared.signed_in("other-root", *ALL, tenant=SYSTEM) as browser:
        await browser.get("/admin/keys")
        await browser.post("/tenant", {"tenant": "globex"})
        await browser.get("/admin/keys")
        old = browser.shown
        await browser.post("/tenant", {"tenant": TENANT})
        browser.shown = old
        refused = await browser.post("/admin/keys", {"label": "meant for globex"})
        assert refused.status_code == 409 and "Nothing was done." in refused.text
        assert all(key.label != "meant for globex" for key in shared.housed.house.registry.keys("globex"))


async def test_the_frame_leads_back_to_what_can_be_opened(shared: Site) -> None:
    """From a page that answers a form the choice of a theme leads to one that there is, not to the address of the form."""
    async with shared.signed_in("thea", Role.OPERATOR) as browser:
        shown = await browser.get("/retention?done=saved")
        assert 'name="back" value="/retention"' in shown.text
        refused = await browser.post("/retention/rule", {"days": "7", "password": "wrong wrong wrong"})
        (back,) = re.findall(r'name="back" value="([^"]*)"', refused.text)
        assert refused.status_code == 409 and (await browser.get(back)).status_code in (200, 303)


async def test_what_is_not_there_is_a_page_for_people_and_a_document_for_programs(shared: Site) -> None:
    """An unknown address, a wrong method and a bad id are told in words to a browser and in JSON to a program."""
    async with shared.signed_in("lost", *ALL) as browser:
        for path, status in (("/nowhere", 404), ("/generations/17", 404), ("/sign-out", 405), ("/generations?state=lost", 400)):
            shown = await browser.get(path)
            assert shown.status_code == status and "To the first page" in shown.text, path
        program = await shared.housed.client.get("/nowhere")
        assert program.status_code == 404 and program.json()["error"]["message"]


SORTED = {"/admin": ("name", "roles", "state"), "/admin/keys": ("key", "user", "made", "state")}


@pytest.mark.parametrize("path", SORTED)
async def test_tables_of_people_and_keys_are_sorted_by_their_columns(shared: Site, path: str) -> None:
    """Each column leads to the table by it, and then to the other way round; anything else is no column."""
    for _ in range(2):
        plant_key(shared.database.app_url, TENANT)
    async with shared.signed_in(f"sorted-{len(path)}"), shared.signed_in(f"sorter-{len(path)}", Role.OPERATOR) as browser:
        for column in SORTED[path]:
            down, up = [(await browser.get(f"{path}?sort={column}{way}")).text for way in ("", "&order=up")]
            assert 'aria-sort="descending"' in down and 'aria-sort="ascending"' in up
            assert f'href="{path}?sort={column}&amp;order=up"' in down and f'href="{path}?sort={column}"' in up
            rows = [re.findall(r'data-row href="([^"]*)"', text) for text in (down, up)]
            assert sorted(rows[0]) == sorted(rows[1]) and len(rows[0]) > 1
            if column in ("name", "made"):
                assert rows[0] == rows[1][::-1]
        assert (await browser.get(f"{path}?sort=secret")).status_code == 400


async def test_a_page_says_once_what_it_is(shared: Site) -> None:
    """Type and charset of a page are told once, also those of a refusal."""
    async with shared.signed_in("teller", Role.AUDITOR) as browser:
        for path, status in (("/sign-in", 200), ("/generations", 200), (f"/generations/{UUID(int=7)}", 404), ("/admin", 403)):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
