"""The wire forms of record fields: how each Python value becomes the bytes of one CBOR item and back, strictly.

A record class is a frozen dataclass whose fields carry `at(key, form)`; `write` and `unpack` do the rest. A
map with a missing, an extra or a mistyped entry is refused, so every record has one spelling. A field with a default came
later and has a higher key: where it has just that value its entry is left out, so older records keep their bytes and meaning.
Writing puts bytes together without building a value first, for it is what every record costs; `cbor.decode` refuses any other
spelling than its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from math import isnan
from operator import attrgetter
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import UUID

from audit import cbor
from audit.cbor import Element, Typed, Value
from audit.errors import InvalidRecord, MalformedData

_Unpacker = Callable[[Value], Any]
_FALSE, _TRUE, _NULL, _PAIR = b"\xf4", b"\xf5", b"\xf6", b"\x82"
_DIGITS = bytes.maketrans(b"\0\1", b"01")
_UINT_NAME = "an integer from 0 below 2^64"


class Shaped(Protocol):
    """A dataclass whose fields were declared with `at`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


S = TypeVar("S", bound=Shaped)


@dataclass(frozen=True, slots=True)
class Form:
    """One wire form: `write` raises InvalidRecord, `unpack` raises MalformedData."""

    name: str
    write: Callable[[Any], bytes]
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


@dataclass(frozen=True, slots=True)
class _Writer:
    """How a kind is written: the first bytes of the map if nothing later is told, the fields that always are, and the others.

    Fields are in the order of their keys, `keys` their bytes and `writes` their forms' writers; `take` gets all values at once.
    """

    start: bytes
    take: Callable[[Any], tuple[Any, ...]]
    keys: tuple[bytes, ...]
    writes: tuple[Callable[[Any], bytes], ...]
    later: tuple[_Entry, ...]


@cache
def _writer(kind: type[Shaped]) -> _Writer:
    ordered = sorted(_layout(kind), key=lambda entry: entry.key)
    always = [entry for entry in ordered if not entry.later]
    names = [entry.name for entry in always]
    take = attrgetter(*names) if len(names) > 1 else lambda shaped: tuple(getattr(shaped, name) for name in names)
    return _Writer(
        cbor.head(5, len(always)),
        take,
        tuple(cbor.head(0, entry.key) for entry in always),
        tuple(entry.form.write for entry in always),
        tuple(entry for entry in ordered if entry.later),
    )


def write(shaped: Shaped) -> bytes:
    """The CBOR map of a record or of a part of one."""
    writer = _writer(type(shaped))
    told = [entry for entry in writer.later if not entry.left_out(getattr(shaped, entry.name))] if writer.later else ()
    parts = [cbor.head(5, len(writer.keys) + len(told)) if told else writer.start]
    for key, form, value in zip(writer.keys, writer.writes, writer.take(shaped), strict=True):
        parts += (key, form(value))
    for entry in told:
        parts += (cbor.head(0, entry.key), entry.form.write(getattr(shaped, entry.name)))
    return b"".join(parts)


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


def _exact(kind: type, name: str, write_exact: Callable[[Any], bytes]) -> Form:
    def write_checked(value: Any) -> bytes:
        # The exact type: True is no integer and 1 is no float, since each has its own bytes.
        if type(value) is not kind:
            raise InvalidRecord(f"expected {name}, got {type(value).__name__}")
        return write_exact(value)

    def unpack_exact(value: Value) -> Any:
        if type(value) is not kind:
            raise MalformedData(f"expected {name}, found {type(value).__name__}")
        return value

    return Form(name, write_checked, unpack_exact)


def _checked(base: Form, name: str, holds: Callable[[Any], bool]) -> Form:
    def write_checked(value: Any) -> bytes:
        written = base.write(value)
        if not holds(value):
            raise InvalidRecord(f"expected {name}, got {value!r}")
        return written

    def unpack_checked(value: Value) -> Any:
        unpacked = base.unpack(value)
        if not holds(unpacked):
            raise MalformedData(f"expected {name}")
        return unpacked

    return Form(name, write_checked, unpack_checked)


def maybe(form: Form) -> Form:
    """The form, or null for None."""
    return Form(
        f"{form.name} or null",
        lambda value: _NULL if value is None else form.write(value),
        lambda value: None if value is None else form.unpack(value),
    )


def sequence(form: Form) -> Form:
    """An array of one form; a tuple in Python."""

    def unpack_all(value: Value) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise MalformedData(f"expected an array of {form.name}")
        return tuple(form.unpack(item) for item in value)

    def write_all(items: Sequence[Any]) -> bytes:
        return b"".join((cbor.head(4, len(items)), *map(form.write, items)))

    return Form(f"array of {form.name}", write_all, unpack_all)


def nested(kind: type[Shaped]) -> Form:
    """A part of a record that is itself a map."""
    return Form(kind.__name__, write, lambda value: unpack(kind, value))


def _write_ids(ids: Sequence[int]) -> bytes:
    return cbor.typed(cbor.ids_element(ids), ids)


def _unpack_ids(value: Value) -> tuple[int, ...]:
    if not isinstance(value, Typed) or value.element not in (Element.UINT16, Element.UINT32):
        raise MalformedData("token ids are a typed array of uint16 or uint32")
    ids = tuple(value.numbers())
    if cbor.ids_element(ids) is not value.element:
        raise MalformedData("token ids are not in the smaller of the two widths")
    return ids


def _write_short_ids(ids: Sequence[int]) -> bytes:
    if not 1 << 16 <= max(ids, default=0) < 1 << 24:
        return _write_ids(ids)
    wide, data = cbor.packed(Element.UINT32, ids), bytearray(3 * len(ids))
    for place in range(3):
        data[place::3] = wide[place + 1 :: 4]
    return cbor.octets(bytes(data))


def _unpack_short_ids(value: Value) -> tuple[int, ...]:
    if not isinstance(value, bytes):
        ids = _unpack_ids(value)
        if isinstance(value, Typed) and value.element is Element.UINT32 and max(ids) < 1 << 24:
            raise MalformedData("token ids are not in the smallest of the three widths")
        return ids
    if len(value) % 3:
        raise MalformedData("token ids of 24 bits are cut off")
    wide = bytearray(4 * (len(value) // 3))
    for place in range(3):
        wide[place + 1 :: 4] = value[place::3]
    ids = tuple(Typed(Element.UINT32, bytes(wide)).numbers())
    if max(ids, default=0) < 1 << 16:
        raise MalformedData("token ids are not in the smallest of the three widths")
    return ids


class _Varints(dict[int, bytes]):
    """LEB128 by number. The first that come, which come often, are remembered: a lookup takes a twentieth of the time."""

    def __missing__(self, number: int) -> bytes:
        if not 0 <= number < 1 << 32:
            raise InvalidRecord(f"a token id is an integer from 0 below 2^32, not {number}")
        data, rest = bytearray(), number
        while rest > 127:
            data.append(rest & 127 | 128)
            rest >>= 7
        written = bytes((*data, rest))
        if len(self) < 1 << 16:
            self[number] = written
        return written


_varint = _Varints().__getitem__


def _write_varints(ids: Sequence[int]) -> bytes:
    try:
        return cbor.octets(b"".join(map(_varint, ids)))
    except TypeError as error:
        raise InvalidRecord(f"a token id is an integer from 0 below 2^32: {error}") from error


def _unpack_varints(value: Value) -> tuple[int, ...]:
    if not isinstance(value, bytes):
        raise MalformedData("expected token ids of one to five bytes each")
    ids, number, shift = list[int](), 0, 0
    for byte in value:
        number |= (byte & 127) << shift
        if byte > 127 and shift < 28:
            shift += 7
        elif byte > 127 or number >= 1 << 32 or (shift and not byte):
            raise MalformedData("a token id is below 2^32 and in as few bytes as it takes")
        else:
            ids.append(number)
            number = shift = 0
    if shift:
        raise MalformedData("the last token id is cut off")
    return tuple(ids)


def _unpack_floats(value: Value) -> tuple[float, ...]:
    if not isinstance(value, Typed) or value.element is not Element.FLOAT32:
        raise MalformedData("expected a typed array of float32")
    numbers = tuple(value.numbers())
    # Read as a double, a signalling NaN becomes a quiet one under some Pythons, and would be written with other bytes.
    if any(map(isnan, numbers)) and any(map(_signals, Typed(Element.UINT32, value.data).numbers())):
        raise MalformedData("a NaN in a plane of float32 is a quiet one")
    return numbers


def _signals(bits: int) -> bool:
    """Whether a float32 of these bits is a signalling NaN (IEEE 754, 6.2.1)."""
    return bits & 0x7FC00000 == 0x7F800000 and bits & 0x003FFFFF != 0


def _write_bits(bits: Sequence[bool]) -> bytes:
    if not set(map(type, bits)) <= {bool}:
        raise InvalidRecord("expected true or false and nothing else")
    return _PAIR + cbor.head(0, len(bits)) + cbor.octets(packed_bits(bits))


def packed_bits(bits: Sequence[bool]) -> bytes:
    """Eight to a byte, the first in the highest bit, zeros after the last."""
    count = len(bits)
    number = int(bytes(bits).translate(_DIGITS) or b"0", 2) << (-count % 8)
    return number.to_bytes((count + 7) // 8, "big")


def _unpack_bits(value: Value) -> tuple[bool, ...]:
    if not isinstance(value, list) or len(value) != 2:
        raise MalformedData("bits are an array of count and bytes")
    count, raw = value
    if type(count) is not int or not isinstance(raw, bytes) or count < 0 or len(raw) != (count + 7) // 8:
        raise MalformedData("the count of bits and their bytes disagree")
    if raw and raw[-1] & ((1 << (-count % 8)) - 1):
        raise MalformedData("the padding of bits is not zero")
    digits = f"{int.from_bytes(raw, 'big'):0{8 * len(raw)}b}"[:count] if raw else ""
    return tuple(map("1".__eq__, digits))


def _unpack_uuid(value: Value) -> UUID:
    if not isinstance(value, bytes) or len(value) != 16:
        raise MalformedData("an id has 16 bytes")
    return UUID(bytes=value)


def _write_uuid(value: UUID) -> bytes:
    if not isinstance(value, UUID):
        raise InvalidRecord(f"expected a UUID, got {value!r}")
    return cbor.octets(value.bytes)


def _write_uint(value: Any) -> bytes:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise InvalidRecord(f"expected {_UINT_NAME}, got {value!r}")
    return cbor.head(0, value)


def _unpack_uint(value: Value) -> int:
    if type(value) is not int or value < 0:
        raise MalformedData(f"expected {_UINT_NAME}")
    return value


def text(most: int) -> Form:
    """Text of 1 to `most` bytes of UTF-8 without NUL and without spaces around it."""

    def holds(value: str) -> bool:
        try:
            return 0 < len(value.encode()) <= most and "\0" not in value and value == value.strip()
        except UnicodeEncodeError:
            return False

    return _checked(TEXT, f"trimmed text of 1 to {most} bytes", holds)


def prose(most: int) -> Form:
    """Text of at most `most` bytes of UTF-8, kept to the letter: it may be empty, and spaces around it stay."""
    return _checked(TEXT, f"text of at most {most} bytes", lambda value: len(value.encode("utf-8", "surrogatepass")) <= most)


def octets(count: int) -> Form:
    """A byte string of exactly `count` bytes."""
    return _checked(BYTES, f"{count} bytes", lambda value: len(value) == count)


def blob(least: int, most: int) -> Form:
    """A byte string of `least` to `most` bytes."""
    return _checked(BYTES, f"{least} to {most} bytes", lambda value: least <= len(value) <= most)


def one_of(*words: str) -> Form:
    """One of a closed set of words."""
    return _checked(TEXT, f"one of {', '.join(words)}", lambda value: value in words)


TEXT = _exact(str, "text", cbor.words)
BYTES = _exact(bytes, "bytes", cbor.octets)
BOOL = _exact(bool, "true or false", lambda value: _TRUE if value else _FALSE)
FLOAT = _exact(float, "a float", cbor.encode)
UINT = Form(_UINT_NAME, _write_uint, _unpack_uint)
DIGEST = octets(32)
UUID16 = Form("an id of 16 bytes", _write_uuid, _unpack_uuid)
TEXTS = sequence(TEXT)
IDS = Form("token ids", _write_ids, _unpack_ids)
SHORT_IDS = Form("token ids of 16, 24 or 32 bits", _write_short_ids, _unpack_short_ids)
VARINTS = Form("token ids of one to five bytes", _write_varints, _unpack_varints)
FLOATS = Form("float32 plane", lambda values: cbor.typed(Element.FLOAT32, values), _unpack_floats)
BITS = Form("bits", _write_bits, _unpack_bits)
