"""A body is read at once only if it holds few enough values; what its strings hold is not counted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import body
from gateway.dialects.body import VALUES_MOST, text_of
from gateway.errors import BadRequest

ODD = st.text(alphabet='",[{\\x\n')


@given(st.recursive(ODD, lambda inner: st.lists(inner) | st.dictionaries(ODD, inner), max_leaves=20), st.integers(0, 40))
def test_values_are_counted_outside_of_strings(document: object, most: int) -> None:
    """However many commas, brackets, quotes and backslashes its strings hold, a body is as big as its structure."""

    def marks(value: object) -> int:
        if isinstance(value, list | dict):
            inner = list(value.values()) if isinstance(value, dict) else value
            return 1 + max(0, len(inner) - 1) + sum(map(marks, inner))
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body, "VALUES_MOST", most)
        assert body._has_too_many(json.dumps(document).encode()) is (marks(document) > most)


def test_a_body_of_too_many_values_is_refused_in_words() -> None:
    """One value more than the limit is a 400 that says so; as many in one string are none."""
    least = json.dumps(["x"] * VALUES_MOST).encode()
    with pytest.raises(BadRequest, match="100000 values"):
        text_of(json.dumps(["x"] * (VALUES_MOST + 1)).encode())
    assert text_of(least) == least.decode()
    quoted = json.dumps(json.dumps([["x", {}]] * VALUES_MOST)).encode()
    assert text_of(quoted) == quoted.decode()
