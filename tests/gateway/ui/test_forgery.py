"""Forged requests, framed pages, prepared links: what another site could try with the browser of somebody signed in."""

from __future__ import annotations

import pytest

from audit.header import decode_header
from audit.store import read_tenant
from gateway.people.names import Role
from gateway.ui.headers import HEADERS
from tests.audit.writer_samples import TENANT
from tests.gateway.ui.addresses import CHANGE
from tests.gateway.ui.browsing import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALL = tuple(Role)


def records(shared: Site) -> int:
    """How many acts of people the tenant's log has."""
    with read_tenant(shared.database.reader_url, TENANT) as reader:
        return len([decode_header(stored.header) for stored in reader.acts()])


async def test_no_form_is_taken_without_the_token_of_its_session(shared: Site) -> None:
    """Every form of every page is refused without a token, with another session's, and when another site sent it."""
    async with shared.signed_in("forger", *ALL) as browser, shared.signed_in("eve", *ALL) as other:
        await other.get("/account")
        foreign = other.secrets["csrf"]
        await browser.get("/account")
        own, before = browser.secrets["csrf"], records(shared)
        assert own != foreign
        for route in CHANGE:
            path = route.at({})
            for fields, headers in (
                ({}, {}), ({"csrf": foreign}, {}), ({"csrf": ""}, {}), ({}, {"x-csrf-token": foreign}),
                ({"csrf": own}, {"sec-fetch-site": "cross-site"}), ({"csrf": own}, {"sec-fetch-site": "same-site"}),
            ):  # fmt: skip
                refused = await browser.client.post(path, data=fields, headers={"accept": "text/html"} | headers)
                assert refused.status_code == 403 and "Nothing was done." in refused.text, (path, fields, headers)
        assert records(shared) == before
        assert (await browser.get("/account")).status_code == 200, "nobody was signed out by a forged form"


async def test_every_answer_tells_the_browser_what_it_may(shared: Site) -> None:
    """Pages, redirects, errors, files and JSON documents alike forbid frames, foreign scripts and guessing of types."""
    async with shared.signed_in("link-0", *ALL) as browser:
        for path in (
            "/generations",
            "/",
            "/nowhere",
            "/static/palimpsest.css",
            "/static/none.js",
            "/v1/models",
            "/health/live",
        ):
            told = (await browser.get(path)).headers
            for name, value in HEADERS:
                assert told.get_list(name.decode()) == [value.decode()], (path, name)
        page = await browser.get("/generations")
        assert page.headers["cache-control"] == "no-store"
        assert "<script>" not in page.text and " style=" not in page.text and " onclick=" not in page.text
        assert "http://" not in page.text.replace("http://www.w3.org", "") and "https://" not in page.text


async def test_a_link_from_elsewhere_asks_again_before_it_asks_to_sign_in(shared: Site) -> None:
    """Behind a link on another site strict cookies stay at home: the page is asked for once more, and then it opens."""
    async with shared.signed_in("link-1", *ALL) as browser, shared.browser() as stranger:
        first = await stranger.get("/generations", **{"sec-fetch-site": "cross-site"})
        assert first.status_code == 200 and 'http-equiv="refresh"' in first.text
        assert (await stranger.get("/generations", **{"sec-fetch-site": "same-origin"})).status_code == 303
        assert (await browser.get("/generations", **{"sec-fetch-site": "same-origin"})).status_code == 200


async def test_static_files_are_a_closed_set(shared: Site) -> None:
    """A file of another folder has no address, however it is spelled; a known one is kept for ever under its version."""
    async with shared.browser() as browser:
        for name in ("..%2frouting.py", "%2e%2e/routes.py", "htmx.LICENSE.txt", "base.html"):
            assert (await browser.get(f"/static/{name}")).status_code == 404, name
        shown = await browser.get("/sign-in")
        address = shown.text.split('<link rel="stylesheet" href="')[1].split('"')[0]
        styles = await browser.get(address)
        assert "immutable" in styles.headers["cache-control"] and styles.headers["content-type"] == "text/css; charset=utf-8"
        assert "immutable" not in (await browser.get("/static/palimpsest.css?v=old")).headers["cache-control"]
