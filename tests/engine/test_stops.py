"""Laws of the end of an answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.stops import Stops
from tests.engine.harness import tokenizer

LETTERS = [tokenizer().encode(letter) for letter in ("a", "b", "é")]
IDS = st.lists(st.sampled_from([*LETTERS, *LETTERS[:2], [3], [7]]), max_size=40).map(
    lambda parts: [token for part in parts for token in part]
)
STRINGS = st.lists(st.text("abé", min_size=2, max_size=5), max_size=3)


@given(IDS, STRINGS, st.frozensets(st.sampled_from((3, 7)), max_size=1), st.lists(st.integers(1, 9), min_size=1))
def test_the_first_end_is_found_however_the_answer_is_cut(
    ids: list[int], strings: list[str], stop_ids: frozenset[int], sizes: list[int]
) -> None:
    """Read in pieces of any size, the end is the first stop id or the token that completes a string in the bytes so far."""
    decode = tokenizer().decode_bytes
    wanted = None
    for index, token in enumerate(ids):
        text = decode(ids[: index + 1])
        if token in stop_ids or any(string.encode() in text for string in strings):
            wanted = index
            break
    stops, found, start = Stops(stop_ids, strings, decode), None, 0
    for size in sizes * 40:
        piece = ids[start : start + size]
        place = stops.first(piece)
        if place is not None:
            found = start + place
            break
        stops.read(piece)
        start += size
    assert found == wanted


@given(IDS, STRINGS)
def test_looking_ahead_changes_nothing(ids: list[int], strings: list[str]) -> None:
    """Asking about a draft that is then dropped leaves the answer's end where it was."""
    decode = tokenizer().decode_bytes
    looked, plain = (Stops(frozenset(), strings, decode) for _ in range(2))
    for token in ids:
        looked.first(ids[::-1])
        assert looked.first([token]) == plain.first([token])
        if plain.first([token]) is not None:
            return
        looked.read([token])
        plain.read([token])
