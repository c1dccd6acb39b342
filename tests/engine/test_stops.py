"""Laws of the end of an answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.stops import Stops
from tests.engine.harness import tokenizer

SPECIAL = {"3": 3, "7": 7}


def ids_of(text: str) -> list[int]:
    """One token a byte, two for an accent; digits stand for special ids, which have no text."""
    return [token for sign in text for token in ([SPECIAL[sign]] if sign in SPECIAL else tokenizer().encode(sign))]


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[int], list[str]]:
    """An answer and stop strings, most of which are pieces of it."""
    text = draw(st.text("ab\u00e937", min_size=1, max_size=40))
    plain = "".join(sign for sign in text if sign not in SPECIAL) or "a"
    starts = st.integers(0, len(plain) - 1)
    pieces = st.builds(lambda start, size: plain[start : start + size], starts, st.integers(1, 7))
    return ids_of(text), draw(st.lists(pieces | st.text("ab\u00e9", min_size=2, max_size=5), max_size=3))


@given(answers(), st.frozensets(st.sampled_from((3, 7)), max_size=1), st.lists(st.integers(1, 9), min_size=1))
def test_the_first_end_is_found_however_the_answer_is_cut(
    answer: tuple[list[int], list[str]], stop_ids: frozenset[int], sizes: list[int]
) -> None:
    """Read in pieces of any size, the end is the first stop id or the token that completes a string in the bytes so far."""
    (ids, strings), decode = answer, tokenizer().decode_bytes
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


@given(answers())
def test_looking_ahead_changes_nothing(answer: tuple[list[int], list[str]]) -> None:
    """Asking about a draft that is then dropped leaves the answer's end where it was."""
    (ids, strings), decode = answer, tokenizer().decode_bytes
    looked, plain = (Stops(frozenset(), strings, decode) for _ in range(2))
    for token in ids:
        looked.first(ids[::-1])
        assert looked.first([token]) == plain.first([token])
        if plain.first([token]) is not None:
            return
        looked.read([token])
        plain.read([token])
