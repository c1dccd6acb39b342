"""Deltas are cut by the text alone."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.responses.words import LONGEST, Words

TEXTS = st.text(st.sampled_from("ab \n\t\u2003é{}"), max_size=200) | st.text(max_size=60) | st.integers(0, 300).map("x".__mul__)


def pieces(chunks: list[str]) -> list[str]:
    """All pieces of a text that came in these chunks."""
    words = Words()
    return [piece for chunk in chunks for piece in words.feed(chunk)] + words.rest()


@given(TEXTS, st.lists(st.integers(0, 300), max_size=12))
def test_any_chunking_gives_the_same_pieces(text: str, cuts: list[int]) -> None:
    """Pieces are the whole text in order, none empty, none long, and do not depend on how it came."""
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    found = pieces([text[start:stop] for start, stop in pairwise(places)])
    assert found == pieces([text]) == pieces(list(text))
    assert "".join(found) == text
    assert all(1 <= len(piece) <= LONGEST for piece in found)


def test_a_piece_is_a_word() -> None:
    """White space goes with the word that follows it."""
    assert pieces(["Hello, wor", "ld  and\n\nall "]) == ["Hello,", " world", "  and", "\n\nall", " "]
