"""Where a key may stand in a request."""

import pytest

from gateway.authenticate import key_of


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer k"}, "k"),
        ({"authorization": "bearer   k "}, "k"),
        ({"x-api-key": "k"}, "k"),
        ({"authorization": "Bearer k", "x-api-key": "other"}, "k"),
        ({"authorization": "Basic k"}, None),
        ({"authorization": "Basic k", "x-api-key": "k"}, "k"),
        ({"authorization": "Bearer "}, None),
        ({"authorization": "Bearer"}, None),
        ({}, None),
    ],
)
def test_a_key_is_a_bearer_token_or_an_x_api_key(headers: dict[str, str], key: str | None) -> None:
    """Bearer comes first, x-api-key second, and anything else is no key."""
    assert key_of(headers) == key
