"""The wire forms of record fields: how each Python value becomes one CBOR value and back, strictly.

A record class is a frozen dataclass whose fields carry `at(key, form)`; `pack` and `unpack` do the rest. A
map with a missing, an extra or a mistyped entry is refused, so every record has one spelling. A field with a default came
later: where it has just that value its entry is left out, so what was recorded before keeps its bytes and its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import UUID

from audit.cbor import Element, Typed, Value
from audit.errors import InvalidRecord, MalformedData

_Unpacker = Callable[[Value], Any]


class Shaped(Protocol):
    """A dataclass whose fields were declared with `at`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


S = TypeVar("S", bound=Shaped)


@dataclass(frozen=True, slots=True)
class Form:
    """One wire form: `pack` raises InvalidRecord, `unpack` raises MalformedData."""

    name: str
    pack: Callable[[Any], Value]
    unpack: _Unpacker


def at(key: int, form: Form) -> Mapping[str, tuple[int, Form]]:
    """Field metadata: the integer map key (never reused, never renumbered) and the form."""
    return {"wire": (key, form)}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One field on the wire; `absent` is the value that is told by leaving it out, MISSING if it never is."""

    name: str
    key: int
    form: Form
    absent: Any

    @property
    def later(self) -> bool:
        """Whether older records have no such entry."""
        return self.absent is not MISSING

    def left_out(self, value: Any) -> bool:
        """Whether this value is told by the absence of its entry."""
        return type(value) is type(self.absent) and bool(value == self.absent)


@cache
def _layout(kind: type[Shaped]) -> tuple[_Entry, ...]:
    told = ((field, *field.metadata["wire"]) for field in fields(kind))
    return tuple(_Entry(field.name, key, form, field.default) for field, key, form in told)


def keys_of(kind: type[Shaped]) -> tuple[int, ...]:
    """Every key that a record or a part of one may have, in order of its fields."""
    return tuple(entry.key for entry in _layout(kind))


def pack(shaped: Shaped) -> dict[int, Value]:
    """The CBOR map of a record or of a part of one."""
    told = ((entry, getattr(shaped, entry.name)) for entry in _layout(type(shaped)))
    return {entry.key: entry.form.pack(value) for entry, value in told if not entry.left_out(value)}


def unpack(kind: type[S], value: Value) -> S:
    """The dataclass of a CBOR map; raises MalformedData unless exactly its keys are there in their forms."""
    layout = _layout(kind)
    if not isinstance(value, Mapping) or not _complete(layout, set(value)):
        raise MalformedData(f"{kind.__name__} is a map with exactly the keys of its schema")
    told = {entry.name: entry.form.unpack(value[entry.key]) for entry in layout if entry.key in value}
    for entry in layout:
        if entry.name in told and entry.left_out(told[entry.name]):
            raise MalformedData(f"{kind.__name__} tells by leaving key {entry.key} out what stands there")
    try:
        return kind(**told)
    except InvalidRecord as error:
        raise MalformedData(str(error)) from error


def _complete(layout: Sequence[_Entry], found: set[Any]) -> bool:
    return {entry.key for entry in layout if not entry.later} <= found <= {entry.key for entry in layout}


def _exact(kind: type[bool | int | float | str | bytes], name: str) -> Form:
    def pack_exact(value: bool | int | float | str | bytes) -> Value:
        # The exact type: True is no integer and 1 is no float, since each has its own bytes.
        if type(value) is not kind:
            raise InvalidRecord(f"expected {name}, got {type(value).__name__}")
        return value

    def unpack_exact(value: Value) -> Any:
        if type(value) is not kind:
            raise MalformedData(f"expected {name}, found {type(value).__name__}")
        return value

    return Form(name, pack_exact, unpack_exact)


def _checked(base: Form, name: str, holds: Callable[[Any], bool]) -> Form:
    def pack_checked(value: Any) -> Value:
        packed = base.pack(value)
        if not holds(value):
            raise InvalidRecord(f"expected {name}, got {value!r}")
        return packed

    def unpack_checked(value: Value) -> Any:
        unpacked = base.unpack(value)
        if not holds(unpacked):
            raise MalformedData(f"expected {name}")
        return unpacked

    return Form(name, pack_checked, unpack_checked)


def maybe(form: Form) -> Form:
    """The form, or null for None."""
    return Form(
        f"{form.name} or null",
        lambda value: None if value is None else form.pack(value),
        lambda value: None if value is None else form.unpack(value),
    )


def sequence(form: Form) -> Form:
    """An array of one form; a tuple in Python."""

    def unpack_all(value: Value) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise MalformedData(f"expected an array of {form.name}")
        return tuple(form.unpack(item) for item in value)

    return Form(f"array of {form.name}", lambda items: [form.pack(item) for item in items], unpack_all)


def nested(kind: type[Shaped]) -> Form:
    """A part of a record that is itself a map."""
    return Form(kind.__name__, pack, lambda value: unpack(kind, value))


def _unpack_ids(value: Value) -> tuple[int, ...]:
    if not isinstance(value, Typed) or value.element not in (Element.UINT16, Element.UINT32):
        raise MalformedData("token ids are a typed array of uint16 or uint32")
    ids = tuple(int(number) for number in value.numbers())
    if Typed.of_ids(ids).element is not value.element:
        raise MalformedData("token ids are not in the smaller of the two widths")
    return ids


def _unpack_floats(value: Value) -> tuple[float, ...]:
    if not isinstance(value, Typed) or value.element is not Element.FLOAT32:
        raise MalformedData("expected a typed array of float32")
    return tuple(float(number) for number in value.numbers())


def _pack_bits(bits: Sequence[bool]) -> Value:
    raw = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        if type(bit) is not bool:
            raise InvalidRecord(f"expected true or false, got {bit!r}")
        raw[index >> 3] |= bit << (7 - (index & 7))
    return [len(bits), bytes(raw)]


def _unpack_bits(value: Value) -> tuple[bool, ...]:
    if not isinstance(value, list) or len(value) != 2:
        raise MalformedData("bits are an array of count and bytes")
    count, raw = value
    if type(count) is not int or not isinstance(raw, bytes) or count < 0 or len(raw) != (count + 7) // 8:
        raise MalformedData("the count of bits and their bytes disagree")
    if raw and raw[-1] & ((1 << (-count % 8)) - 1):
        raise MalformedData("the padding of bits is not zero")
    return tuple(bool(raw[index >> 3] >> (7 - (index & 7)) & 1) for index in range(count))


def _unpack_uuid(value: Value) -> UUID:
    if not isinstance(value, bytes) or len(value) != 16:
        raise MalformedData("an id has 16 bytes")
    return UUID(bytes=value)


def _pack_uuid(value: UUID) -> Value:
    if not isinstance(value, UUID):
        raise InvalidRecord(f"expected a UUID, got {value!r}")
    return value.bytes


def text(most: int) -> Form:
    """Text of 1 to `most` bytes of UTF-8 without NUL and without spaces around it."""

    def holds(value: str) -> bool:
        try:
            return 0 < len(value.encode()) <= most and "\0" not in value and value == value.strip()
        except UnicodeEncodeError:
            return False

    return _checked(TEXT, f"trimmed text of 1 to {most} bytes", holds)


def octets(count: int) -> Form:
    """A byte string of exactly `count` bytes."""
    return _checked(BYTES, f"{count} bytes", lambda value: len(value) == count)


def one_of(*words: str) -> Form:
    """One of a closed set of words."""
    return _checked(TEXT, f"one of {', '.join(words)}", lambda value: value in words)


TEXT = _exact(str, "text")
BYTES = _exact(bytes, "bytes")
BOOL = _exact(bool, "true or false")
INT = _exact(int, "an integer")
FLOAT = _exact(float, "a float")
UINT = _checked(INT, "an integer from 0 below 2^64", lambda value: 0 <= value < 1 << 64)
DIGEST = octets(32)
UUID16 = Form("an id of 16 bytes", _pack_uuid, _unpack_uuid)
TEXTS = sequence(TEXT)
IDS = Form("token ids", Typed.of_ids, _unpack_ids)
FLOATS = Form("float32 plane", lambda values: Typed.of(Element.FLOAT32, values), _unpack_floats)
BITS = Form("bits", _pack_bits, _unpack_bits)
