"""What passes are made of: as strict as a frozen dataclass for the type checker, as cheap as any object."""

from __future__ import annotations

import pytest

from engine.plan import Want, clean, clean_frame
from engine.sampling import Picks


def test_a_value_is_equal_to_itself_alone() -> None:
    """Two of one content are two: they stand in sets and dictionaries as the objects that they are."""
    one, other = Picks([1], [0.5]), Picks([1], [0.5])
    assert one == one and one != other and len({one, other}) == 2  # noqa: PLR0124 - equality itself is asked for


def test_a_value_has_its_fields_and_no_others() -> None:
    """There is no dictionary behind it, so a misspelt field is an error at run time too."""
    step = clean((4, 5))
    assert step.frame is clean_frame(2, Want.ALL) and not hasattr(step, "__dict__")
    with pytest.raises(AttributeError):
        step.sorces = ()  # type: ignore[attr-defined]
