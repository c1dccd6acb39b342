"""Each wire form writes exactly the bytes that the codec defines for the value it stands for, and reads them back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import cbor, forms
from audit.cbor import Element, Typed, Value
from audit.errors import InvalidRecord, MalformedData
from audit.forms import Form

UINTS = st.integers(0, 2**64 - 1)
BITS = st.lists(st.booleans(), max_size=70).map(tuple)
IDS = st.lists(st.integers(0, 2**32 - 1), max_size=40).map(tuple)
PLANES = st.lists(st.floats(width=32, allow_nan=False), max_size=40).map(tuple)
FORMS: dict[str, tuple[Form, st.SearchStrategy[Any]]] = {
    "uint": (forms.UINT, UINTS),
    "bool": (forms.BOOL, st.booleans()),
    "float": (forms.FLOAT, st.floats(allow_nan=False)),
    "text": (forms.TEXT, st.text(max_size=300)),
    "bytes": (forms.BYTES, st.binary(max_size=300)),
    "digest": (forms.DIGEST, st.binary(min_size=32, max_size=32)),
    "uuid": (forms.UUID16, st.uuids()),
    "texts": (forms.TEXTS, st.lists(st.text(max_size=9), max_size=30).map(tuple)),
    "ids": (forms.IDS, IDS),
    "floats": (forms.FLOATS, PLANES),
    "bits": (forms.BITS, BITS),
    "maybe": (forms.maybe(forms.UINT), st.none() | UINTS),
}


def value_of(name: str, value: Any) -> Value:
    """What the CBOR value of a form is, said once more and slowly."""
    match name:
        case "uuid":
            return bytes(value.bytes)
        case "texts":
            return list(value)
        case "ids":
            return Typed.of(Element.UINT16 if all(each < 65536 for each in value) else Element.UINT32, value)
        case "floats":
            return Typed.of(Element.FLOAT32, value)
        case "bits":
            digits = "".join("01"[bit] for bit in value) + "0" * (-len(value) % 8)
            return [len(value), bytes(int(digits[start : start + 8], 2) for start in range(0, len(digits), 8))]
        case _:
            assert value is None or isinstance(value, bool | int | float | str | bytes)
            return value


@pytest.mark.parametrize("name", FORMS)
def test_a_form_writes_what_the_codec_defines(name: str) -> None:
    """For every value of a form, its bytes are the codec's for that value, and the form reads the value back."""
    form, values = FORMS[name]

    @given(values)
    def law(value: Any) -> None:
        data = form.write(value)
        assert data == cbor.encode(value_of(name, value))
        assert form.unpack(cbor.decode(data)) == value

    law()


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (forms.UINT, -1), (forms.UINT, 2**64), (forms.UINT, True), (forms.UINT, 1.0), (forms.BOOL, 1), (forms.FLOAT, 1),
        (forms.FLOAT, float("nan")), (forms.TEXT, b"x"), (forms.TEXT, "\ud800"), (forms.BYTES, "x"), (forms.DIGEST, b"x"),
        (forms.UUID16, UUID(int=1).bytes), (forms.TEXTS, (1,)), (forms.IDS, (-1,)), (forms.IDS, (2**32,)),
        (forms.IDS, (1.0,)), (forms.FLOATS, (0.1,)), (forms.BITS, (1,)), (forms.BITS, (None,)),
    ],
)  # fmt: skip
def test_a_value_out_of_its_form_is_refused(form: Form, value: Any) -> None:
    """Whoever writes a value that is not of the form hears it before anything is recorded."""
    with pytest.raises(InvalidRecord):
        form.write(value)


@pytest.mark.parametrize(("bits", "fits"), [("7fc00000", True), ("ffe04400", True), ("7fa04400", False), ("ff800001", False)])
def test_a_nan_of_a_plane_is_a_quiet_one(bits: str, fits: bool) -> None:
    """A signalling NaN cannot be written again as it was, so it is malformed; a quiet one and the infinities come back."""
    value = Typed(Element.FLOAT32, bytes.fromhex("7f800000" + bits))
    if fits:
        assert forms.FLOATS.write(forms.FLOATS.unpack(value)) == cbor.encode(value)
    else:
        with pytest.raises(MalformedData, match="quiet"):
            forms.FLOATS.unpack(value)
