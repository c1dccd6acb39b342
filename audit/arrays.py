"""Arrays as PostgreSQL takes them in binary, put together at once.

psycopg writes an array element by element through its adapters, which takes five times as long.
The format is that of `array_recv`: dimensions, whether NULLs occur, element type, length, lower bound; then each element after
its length, -1 for NULL.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_BYTEA, _INT8, _INT2, _UUID = 17, 20, 21, 2950
_HEAD: Final = Struct(">iiIii")
_LENGTH: Final = Struct(">i").pack
_LONG: Final = Struct(">iq").pack
_SHORT: Final = Struct(">ih").pack
_NULL: Final = _LENGTH(-1)
_OF_UUID: Final = _LENGTH(16)


class Array(bytes):
    """One array; the statement's cast says of which type it is."""

    __slots__ = ()


class ArrayDumper(Dumper):
    """Sends an `Array` as it is, untyped."""

    format = Format.BINARY

    def dump(self, obj: Buffer) -> Buffer:
        """The same bytes."""
        return obj


def take_arrays(connection: AsyncConnection[tuple[object, ...]]) -> None:
    """Let a connection send arrays of this kind."""
    connection.adapters.register_dumper(Array, ArrayDumper)


def blobs(values: Sequence[bytes]) -> Array:
    """bytea[]"""
    return _array(_BYTEA, len(values), 0, [part for value in values for part in (_LENGTH(len(value)), value)])


def longs(values: Sequence[int]) -> Array:
    """bigint[]"""
    return _array(_INT8, len(values), 0, [_LONG(8, value) for value in values])


def shorts(values: Sequence[int]) -> Array:
    """smallint[]"""
    return _array(_INT2, len(values), 0, [_SHORT(2, value) for value in values])


def ids(values: Sequence[UUID | None]) -> Array:
    """uuid[], NULL for None."""
    parts = [_NULL if value is None else _OF_UUID + value.bytes for value in values]
    return _array(_UUID, len(values), int(None in values), parts)


def _array(element: int, count: int, nulls: int, parts: Sequence[bytes]) -> Array:
    return Array(b"".join((_HEAD.pack(1, nulls, element, count, 1), *parts)))
