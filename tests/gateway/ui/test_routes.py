"""What can be said of the pages without a house: whom each route is for, what a token tells, where sign-in leads."""

from __future__ import annotations

import pytest

from gateway.ui import forgery
from gateway.ui.onward import onward
from tests.gateway.ui.addresses import CHANGE, READ, Route, routes


def test_every_route_says_whom_it_is_for() -> None:
    """No handler leaves open whom it is for, and none but sign-in, theme and the probe at the root is for everybody."""
    assert [route for route in routes() if route.roles == "nobody"] == []
    assert {route.path for route in routes() if route.roles == ()} == {"/", "/sign-in", "/theme"}


def test_walked_routes_are_all_of_them() -> None:
    """The walk over routes finds pages with parameters and without, and forms."""
    assert Route("GET", "/generations/{generation:uuid}", None).at({"generation": "5"}) == "/generations/5"
    assert len(READ) > 20 and len(CHANGE) > 20


def test_a_token_is_of_its_secret_alone() -> None:
    """Two sessions have two tokens, and a token does not hold the secret."""
    assert forgery.token("a") != forgery.token("b") and "secret" not in forgery.token("secret")


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil", "",
        "/\t/evil.example", "/sign-out", "/sign-in?next=/", "///evil.example", "/é", "/" + "a" * 3000,
    ],
)  # fmt: skip
def test_nobody_is_led_to_another_site(wanted: str) -> None:
    """After sign-in a person stays at this origin, whatever the address asked for."""
    assert onward(wanted) == "/"


def test_the_page_that_was_asked_for_is_kept() -> None:
    """An address of ours comes back whole."""
    assert onward("/generations?mode=ar&after=5") == "/generations?mode=ar&after=5"
