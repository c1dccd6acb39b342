"""What strangers send: no form, address or cookie of theirs costs more than a glance, and nothing of it is kept."""

from __future__ import annotations

import pytest
from litestar._parsers import parse_cookie_string, parse_query_string, parse_url_encoded_form_data

from gateway.people.names import Role
from gateway.ui.forms import FIELDS_MOST, SMALL
from tests.gateway.planted import PASSWORD
from tests.gateway.ui.browsing import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "text/html"}


async def test_a_form_of_whoever_holds_no_token_is_not_read(shared: Site) -> None:
    """Without a cookie of ours a form is refused before its body, and one over what the page sends is never taken."""
    body = "&".join(f"{number:x}" for number in range(100_000)).encode()
    async with shared.browser() as stranger:
        for path in ("/sign-in", "/theme"):
            assert (await stranger.client.post(path, content=body, headers=FORM)).status_code == 403
        await stranger.get("/sign-in")
        for path in ("/sign-in", "/theme"):
            assert (await stranger.client.post(path, content=body, headers=FORM)).status_code == 413
            many = b"a&" * FIELDS_MOST
            assert len(many) < SMALL and (await stranger.client.post(path, content=many, headers=FORM)).status_code == 400


async def test_no_form_stays_in_the_framework(shared: Site) -> None:
    """A sign-in with its password is read by us alone: the parser of the framework, which keeps what it read, sees none."""
    before = parse_url_encoded_form_data.cache_info()
    async with shared.signed_in("unkept", *Role) as browser:
        await browser.get("/account")
        assert (await browser.post("/theme", {"theme": "dark", "back": "/account"})).status_code == 303
    assert parse_url_encoded_form_data.cache_info() == before


async def test_long_addresses_and_cookies_are_refused_unread(shared: Site) -> None:
    """A query or cookies beyond what anybody means get 414 and 431, of pages, API and dialects, and are not kept."""
    async with shared.browser() as stranger:
        for path in ("/sign-in", "/api/generations", "/v1/models", "/nowhere"):
            before = parse_query_string.cache_info().currsize, parse_cookie_string.cache_info().currsize
            for query in ("x=" + "y" * 20_000, "&".join(f"{number:x}" for number in range(300))):
                assert (await stranger.get(f"{path}?{query}")).status_code == 414
            for cookie in ("x=" + "y" * 20_000, ";".join(f"{number:x}" for number in range(300))):
                assert (await stranger.get(path, cookie=cookie)).status_code == 431
            assert (parse_query_string.cache_info().currsize, parse_cookie_string.cache_info().currsize) == before


async def test_nul_is_refused_wherever_it_comes(shared: Site) -> None:
    """A NUL in an address or a field is a 400 that says so, never a fault of ours, before and after sign-in."""
    async with shared.signed_in("nul", *Role) as browser, shared.browser() as stranger:
        for path in ("/generations?caller=%00", "/approvals?workflow=%00", "/policies/difference?old=%00&new=x"):
            assert (await browser.get(path)).status_code == 400, path
        assert (await stranger.get("/sign-in?next=%00")).status_code == 400
        assert (await stranger.sign_in("nul", password=PASSWORD + "\0")).status_code == 400
        await browser.get("/admin/keys")
        for path, fields in (("/admin/keys", {"label": "a\0"}), ("/retention/hold", {"subject": "a\0", "reason": "x"})):
            refused = await browser.post(path, fields)
            assert refused.status_code == 400 and "NUL" in refused.text, path


async def test_no_day_is_beyond_the_calendar(shared: Site) -> None:
    """The last day that a calendar has can be searched until."""
    async with shared.signed_in("calendar", *Role) as browser:
        for path in ("/generations?until=9999-12-31", "/economics?since=9999-12-31&until=9999-12-31"):
            assert (await browser.get(path)).status_code in (200, 400), path
