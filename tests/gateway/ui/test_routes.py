"""What can be said of the pages without a house: whom each route is for, and what a token tells."""

from __future__ import annotations

from gateway.ui import forgery
from tests.gateway.ui.addresses import CHANGE, READ, Route, routes


def test_every_route_says_whom_it_is_for() -> None:
    """No handler leaves open whom it is for, and none but sign-in and theme is for everybody."""
    assert [route for route in routes() if route.roles == "nobody"] == []
    assert {route.path for route in routes() if route.roles == ()} == {"/sign-in", "/theme"}


def test_walked_routes_are_all_of_them() -> None:
    """The walk over routes finds pages with parameters and without, and forms."""
    assert Route("GET", "/generations/{generation:uuid}", None).at({"generation": "5"}) == "/generations/5"
    assert len(READ) > 20 and len(CHANGE) > 20


def test_a_token_is_of_its_secret_alone() -> None:
    """Two sessions have two tokens, and a token does not hold the secret."""
    assert forgery.token("a") != forgery.token("b") and "secret" not in forgery.token("secret")
