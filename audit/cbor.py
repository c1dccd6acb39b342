"""Deterministic CBOR (RFC 8949, 4.2.1) with one spelling per value; the decoder refuses all others.

`encode` writes any value; `head`, `octets`, `words` and `typed` are the same spelling for those who know what they write.

The vocabulary is closed: integers of 64 bits, byte and text strings, arrays, maps with integer keys from 0, false,
true, null, floats in their shortest exact form, and big-endian RFC 8746 typed arrays of uint8, uint16,
uint32, float32. Nothing else encodes or decodes: no NaN, no indefinite length, no other tag, no duplicate or
unsorted key.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import cbor2

from audit.errors import InvalidRecord, MalformedData

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 8
MAX_ITEMS = 1_000_000
"""Items of all arrays and maps of one value: each takes a byte as it is written, and up to eighty in memory."""
_INTEGER_LIMIT = 1 << 64


class Element(IntEnum):
    """Element types of a typed array; the number is its RFC 8746 tag (all big-endian)."""

    UINT8 = 64
    UINT16 = 65
    UINT32 = 66
    FLOAT32 = 81


_CODES = {Element.UINT8: "B", Element.UINT16: "H", Element.UINT32: "I", Element.FLOAT32: "f"}
_WIDTHS = {element: struct.calcsize(f">{code}") for element, code in _CODES.items()}
_TAGS = {element: bytes((0xD8, element)) for element in Element}
_HEADS = [
    [bytes((major << 5 | number,) if number < 24 else (major << 5 | 24, number)) for number in range(256)] for major in range(8)
]


@dataclass(frozen=True, slots=True)
class Typed:
    """A one-dimensional typed array: element type and its big-endian bytes."""

    element: Element
    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) % self.width:
            raise MalformedData(f"a {self.element.name} array of {len(self.data)} bytes is cut off")

    @property
    def width(self) -> int:
        """Bytes per element."""
        return _WIDTHS[self.element]

    def __len__(self) -> int:
        return len(self.data) // self.width

    @classmethod
    def of(cls, element: Element, numbers: Sequence[float]) -> Typed:
        """Pack numbers; raises InvalidRecord when one does not fit the element exactly."""
        return cls(element, packed(element, numbers))

    def numbers(self) -> list[Any]:
        """The elements, integers or floats as the element says; float32 comes back as the double of equal value."""
        return list(struct.unpack(f">{len(self)}{_CODES[self.element]}", self.data))


_PLAIN = frozenset({bytes, str, bool, type(None), Typed})

Value: TypeAlias = "bool | int | float | bytes | str | Typed | Sequence[Value] | Mapping[int, Value] | None"


def packed(element: Element, numbers: Sequence[float]) -> bytes:
    """The big-endian bytes of numbers; raises InvalidRecord when one does not fit the element exactly."""
    form = f">{len(numbers)}{_CODES[element]}"  # several times as fast as an array of 16 bits
    try:
        data = struct.pack(form, *numbers)
    except (OverflowError, TypeError, struct.error) as error:
        raise InvalidRecord(f"a value does not fit a {element.name} array: {error}") from error
    if element is Element.FLOAT32 and not _same_floats(struct.unpack(form, data), numbers):
        raise InvalidRecord("round every value to float32 before it is recorded")
    return data


def ids_element(ids: Sequence[int]) -> Element:
    """The smaller of uint16 and uint32 that holds every id."""
    return Element.UINT16 if max(ids, default=0) < 1 << 16 else Element.UINT32


def _same_floats(packed: Sequence[float], numbers: Sequence[float]) -> bool:
    """Whether packing lost nothing; the slow look is for NaN alone, which equals nothing."""
    return packed == tuple(numbers) or all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(packed, numbers, strict=True)
    )


def head(major: int, number: int) -> bytes:
    """The first bytes of an item: its major type (0 to 7) and its number, from 0 below 2^64, in the shortest form."""
    if number < 256:
        return _HEADS[major][number]
    size = 1 if number < 1 << 16 else 2 if number < 1 << 32 else 3
    return bytes((major << 5 | 24 + size,)) + number.to_bytes(1 << size, "big")


def octets(data: bytes) -> bytes:
    """The item of a byte string."""
    return head(2, len(data)) + data


def words(text: str) -> bytes:
    """The item of a text; raises InvalidRecord for a lone surrogate."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRecord("text holds a lone surrogate; repair it before it is recorded") from error
    return head(3, len(data)) + data


def typed(element: Element, numbers: Sequence[float]) -> bytes:
    """The item of a typed array; raises InvalidRecord when a number does not fit the element exactly."""
    return _TAGS[element] + octets(packed(element, numbers))


def encode(value: Value) -> bytes:
    """The one byte string of a value; raises InvalidRecord outside the vocabulary or over MAX_BYTES."""
    _check(value, 0)
    try:
        # Sorts by length of the key first; for keys from 0 on that is the order of their bytes.
        out = cbor2.dumps(value, canonical=True, default=_write_typed)
    except UnicodeEncodeError as error:
        raise InvalidRecord("text holds a lone surrogate; repair it before it is recorded") from error
    if len(out) > MAX_BYTES:
        raise InvalidRecord(f"{len(out)} bytes of CBOR; split the record, at most {MAX_BYTES} are written")
    return out


def _check(value: Value, depth: int) -> None:
    """Raise InvalidRecord for what the library would write and we never do."""
    if depth > MAX_DEPTH:
        raise InvalidRecord(f"values nest deeper than {MAX_DEPTH}")
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind is dict:
        for key, item in value.items():  # type: ignore[union-attr]
            if type(key) is not int or not 0 <= key < _INTEGER_LIMIT:
                raise InvalidRecord("map keys are integers from 0 below 2^64")
            _check(item, depth + 1)
    elif kind is list or kind is tuple:
        for item in value:  # type: ignore[union-attr]
            _check(item, depth + 1)
    elif isinstance(value, int):
        if not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
            raise InvalidRecord(f"the integer {value} needs more than 64 bits")
    elif not isinstance(value, float):
        raise InvalidRecord(f"{kind.__name__} has no place in a record")
    elif math.isnan(value):
        raise InvalidRecord("NaN is not recorded; note the fault instead")


def _write_typed(encoder: cbor2.CBOREncoder, value: Typed) -> None:
    encoder.encode(cbor2.CBORTag(value.element, value.data))


def decode(data: bytes, limit: int = MAX_BYTES) -> Value:
    """The value of a byte string in deterministic form; raises MalformedData for any other byte string."""
    if len(data) > limit:
        raise MalformedData(f"{len(data)} bytes of CBOR where at most {limit} are allowed")
    reader = _Reader(data)
    value = reader.item(0)
    if reader.at != len(data):
        raise MalformedData(f"{len(data) - reader.at} bytes follow the value")
    return value


class _Reader:
    """A cursor over the bytes of one value."""

    __slots__ = ("at", "data", "end", "items")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at, self.end, self.items = 0, len(data), 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > self.end:
            raise MalformedData("the value ends too early")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def argument(self, info: int) -> int:
        if info > 27:
            raise MalformedData("indefinite lengths and reserved forms are refused")
        size = 1 << (info - 24)
        number = int.from_bytes(self.take(size), "big")
        if number < (24 if size == 1 else 1 << (size * 4)):
            raise MalformedData("a number is not in its shortest form")
        return number

    def item(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise MalformedData(f"values nest deeper than {MAX_DEPTH}")
        at = self.at
        if at >= self.end:
            raise MalformedData("the value ends too early")
        initial = self.data[at]
        self.at = at + 1
        major, info = initial >> 5, initial & 31
        if major == 7:
            return self.simple(info)
        number = info if info < 24 else self.argument(info)
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            return self.take(number)
        if major == 3:
            return self.text(number)
        if major == 4:
            return [self.item(depth + 1) for _ in range(self.count(number))]
        if major == 5:
            return self.mapping(self.count(number), depth)
        return self.typed(number, depth)

    def count(self, number: int) -> int:
        if number > self.end - self.at:
            raise MalformedData("more items are announced than bytes remain")
        self.items += number
        if self.items > MAX_ITEMS:
            raise MalformedData(f"a value has at most {MAX_ITEMS} items")
        return number

    def text(self, length: int) -> str:
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedData("a text string is not UTF-8") from error

    def mapping(self, count: int, depth: int) -> dict[int, Value]:
        entries: dict[int, Value] = {}
        previous = b""
        for _ in range(count):
            start = self.at
            key = self.item(depth + 1)
            raw = self.data[start : self.at]
            if type(key) is not int or key < 0:
                raise MalformedData("a map key is not an integer from 0 on")
            if raw <= previous:
                raise MalformedData("map keys are duplicate or out of order")
            previous = raw
            entries[key] = self.item(depth + 1)
        return entries

    def typed(self, tag: int, depth: int) -> Typed:
        try:
            element = Element(tag)
        except ValueError as error:
            raise MalformedData(f"tag {tag} is not permitted") from error
        content = self.item(depth + 1)
        if not isinstance(content, bytes):
            raise MalformedData("a typed array is not a byte string")
        return Typed(element, content)

    def simple(self, info: int) -> Value:
        if info in (20, 21, 22):
            return {20: False, 21: True, 22: None}[info]
        if info not in (25, 26, 27):
            raise MalformedData(f"simple value {info} is not permitted")
        size, code = {25: (2, ">e"), 26: (4, ">f"), 27: (8, ">d")}[info]
        start = self.at - 1
        value: float = struct.unpack(code, self.take(size))[0]
        if math.isnan(value):
            raise MalformedData("NaN is refused")
        if cbor2.dumps(value, canonical=True) != self.data[start : self.at]:
            raise MalformedData("a float is not in its shortest form")
        return value
