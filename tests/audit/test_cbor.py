"""Laws of the deterministic CBOR codec."""

import io
import math

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import cbor
from audit.cbor import Element, Typed
from audit.errors import InvalidRecord, MalformedData

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats(allow_nan=False)
    | st.binary(max_size=40) | st.text(max_size=40)
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 300) | st.integers(0, 2**64 - 1),
    inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_round_trip(value: cbor.Value) -> None:
    """Decoding what was encoded gives the same value, and encoding it again the same bytes."""
    data = cbor.encode(value)
    back = cbor.decode(data)
    assert back == value
    assert cbor.encode(back) == data


@given(VALUES)
def test_an_independent_decoder_agrees(value: cbor.Value) -> None:
    """A general CBOR library reads our bytes as the same value."""
    assert cbor2.loads(cbor.encode(value)) == value


@given(st.binary(max_size=24))
def test_accepted_bytes_are_the_only_spelling(data: bytes) -> None:
    """Any bytes are either refused or exactly what the encoder writes for their value."""
    try:
        value = cbor.decode(data)
    except MalformedData:
        return
    assert cbor.encode(value) == data


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"), (23, "17"), (24, "1818"), (255, "18ff"), (256, "190100"), (65536, "1a00010000"),
        (2**64 - 1, "1bffffffffffffffff"), (-1, "20"), (-(2**64), "3bffffffffffffffff"), (None, "f6"),
        (True, "f5"), (False, "f4"), (0.0, "f90000"), (-0.0, "f98000"), (1.5, "f93e00"),
        (100000.0, "fa47c35000"),
        (1.1, "fb3ff199999999999a"), (math.inf, "f97c00"), ("\u00fc", "62c3bc"), (b"\x01", "4101"),
        ([1, [2]], "82018102"), ({300: 3, 10: 1, 1: 2}, "a301020a0119012c03"),
    ],
)  # fmt: skip
def test_published_examples(value: cbor.Value, expected: str) -> None:
    """Values have the bytes that RFC 8949 appendix A and section 4.2.1 give them."""
    assert cbor.encode(value).hex() == expected


@pytest.mark.parametrize(
    "spelling",
    [
        "", "1800", "190017", "1a000000ff", "1b00000000ffffffff", "5f4101ff", "9f01ff", "bf0101ff",
        "a201020103",
        "a202010101", "a1616101", "a1f501", "a12001", "0000", "61ff", "f97e00", "fa7fc00000", "fa3f800000",
        "fb3ff0000000000000", "f7", "f0", "f820", "1c", "c074", "d84143010203", "d8424101", "d84101",
        "d9004040",
        "9bffffffffffffffff", "5bffffffffffffffff", "8181818181818181818100",
    ],
)  # fmt: skip
def test_other_spellings_are_refused(spelling: str) -> None:
    """Long forms, indefinite lengths, unsorted keys, NaN, foreign tags and trailing bytes are errors."""
    with pytest.raises(MalformedData):
        cbor.decode(bytes.fromhex(spelling))


def test_size_is_bounded() -> None:
    """A byte string over the limit is refused before it is parsed."""
    with pytest.raises(MalformedData, match="at most 4"):
        cbor.decode(b"\x44abcd", 4)


def test_the_number_of_items_is_bounded() -> None:
    """A value whose items would take a hundred times its bytes in memory is refused before they are made."""
    whole = cbor.head(4, cbor.MAX_ITEMS - 1) + b"\xa0" * (cbor.MAX_ITEMS - 1)
    assert cbor.decode(cbor.head(4, 1) + whole) == [[{}] * (cbor.MAX_ITEMS - 1)]
    for more in (cbor.head(4, 2) + whole + b"\xa0", cbor.head(4, 2**21) + b"\xa0" * 2**21):
        with pytest.raises(MalformedData, match="at most 1000000 items"):
            cbor.decode(more)


@pytest.mark.parametrize("value", [math.nan, 2**64, -(2**64) - 1, "\ud800", {True: 1}, {"a": 1}, object()])
def test_values_outside_the_vocabulary_are_not_written(value: object) -> None:
    """NaN, too large integers, lone surrogates, foreign keys and foreign types are refused."""
    with pytest.raises(InvalidRecord):
        cbor.encode(value)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 2**32 - 1), max_size=40))
def test_ids_take_the_smaller_width(ids: list[int]) -> None:
    """Ids are packed as uint16 exactly when all of them fit, big-endian, and come back equal."""
    typed = Typed.of(cbor.ids_element(ids), ids)
    assert cbor.typed(typed.element, ids) == cbor.encode(typed)
    assert typed.element is (Element.UINT16 if all(i < 65536 for i in ids) else Element.UINT32)
    assert typed.data == b"".join(i.to_bytes(typed.width, "big") for i in ids)
    assert typed.numbers() == ids
    assert cbor.decode(cbor.encode(typed)) == typed


def test_typed_array_tags_are_those_of_rfc_8746() -> None:
    """Tags 64, 65, 66 and 81 stand for big-endian uint8, uint16, uint32 and float32."""
    assert cbor.encode(Typed.of(Element.UINT8, [1])).hex() == "d8404101"
    assert cbor.encode(Typed.of(Element.UINT16, [1])).hex() == "d841420001"
    assert cbor.encode(Typed.of(Element.UINT32, [1])).hex() == "d8424400000001"
    assert cbor.encode(Typed.of(Element.FLOAT32, [1.0])).hex() == "d851443f800000"
    with io.BytesIO(cbor.encode(Typed.of(Element.UINT16, [1, 2]))) as file:
        assert cbor2.load(file).tag == 65


@pytest.mark.parametrize("numbers", [[0.1], [1e300]])
def test_floats_must_already_be_float32(numbers: list[float]) -> None:
    """A float32 plane never rounds in silence."""
    with pytest.raises(InvalidRecord):
        Typed.of(Element.FLOAT32, numbers)


def test_float32_planes_keep_nan_and_infinities() -> None:
    """A faulty figure of the engine is recorded as it was."""
    back = Typed.of(Element.FLOAT32, [math.nan, -math.inf]).numbers()
    assert math.isnan(back[0])
    assert back[1] == -math.inf


@given(st.integers(0, 2**64 - 1), st.binary(max_size=300), st.text(max_size=300))
def test_pieces_are_spelt_like_values(number: int, data: bytes, text: str) -> None:
    """A number, a byte string and a text written as pieces are what the encoder of values writes."""
    assert cbor.head(0, number) == cbor.encode(number)
    assert cbor.octets(data) == cbor.encode(data)
    assert cbor.words(text) == cbor.encode(text)
    assert cbor.head(4, 2) + cbor.head(0, number) + cbor.octets(data) == cbor.encode([number, data])
    assert cbor.head(5, 1) + cbor.head(0, 7) + cbor.words(text) == cbor.encode({7: text})


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=40))
def test_a_plane_is_spelt_like_a_value(values: list[float]) -> None:
    """So is a plane of float32."""
    assert cbor.typed(Element.FLOAT32, values) == cbor.encode(Typed.of(Element.FLOAT32, values))
