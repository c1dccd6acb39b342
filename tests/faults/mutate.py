"""A small mutator of bytes: it turns genuine inputs into what an attacker, a bad disk or another spelling would make of them.

It knows no grammar, but much of what the house reads: lines, decimal numbers, and base64, whose inside it changes too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

MOST_BYTES = 65_536
_NUMBERS = (0, 1, 2, 127, 255, 256, 65_535, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30)
_BYTES = (0x00, 0x01, 0x0A, 0x0D, 0x20, 0x22, 0x7F, 0x80, 0xC0, 0xD8, 0xED, 0xF4, 0xF7, 0xF8, 0xF9, 0xFB, 0xFF)
_TOKENS = (b"\n", b"\n\n", b" ", b"\x00", b"\r\n", b"+", b"=", b"\xe2\x80\x94 ", b"{", b"[", b'"', b"null", b"NaN", b"-0",
           b"1e999", b"\\ud800", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x9f", b"\xbf", b"\xff")  # fmt: skip
_DIGITS = re.compile(rb"[0-9]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{12,}={0,2}")

Change: TypeAlias = Callable[[Random, bytearray, Sequence[bytes]], None]


def mutated(random: Random, inputs: Sequence[bytes]) -> bytes:
    """One of the inputs after one to six changes; at most MOST_BYTES long."""
    data = bytearray(random.choice(inputs))
    for _ in range(min(random.randint(1, 6), random.randint(1, 6))):
        random.choice(CHANGES)(random, data, inputs)
        del data[MOST_BYTES:]
    return bytes(data)


def _span(random: Random, data: bytearray) -> slice:
    start = random.randint(0, len(data))
    return slice(start, min(len(data), start + random.choice((1, 2, 4, 16, 64, 512))))


def _flip(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] = random.choice(_BYTES)


def _insert(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = random.randint(0, len(data))
    data[at:at] = random.choice((random.choice(_TOKENS), random.randbytes(random.randint(1, 8))))


def _delete(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_span(random, data)]


def _repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    span = _span(random, data)
    data[span.start : span.start] = data[span] * random.choice((1, 1, 2, 17, 300))


def _cut(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[random.randint(0, len(data)) :]


def _splice(random: Random, data: bytearray, inputs: Sequence[bytes]) -> None:
    other = random.choice(inputs)
    data[_span(random, data)] = other[_span(random, bytearray(other))]


def _lines(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Swap, drop or double whole lines."""
    lines = bytes(data).split(b"\n")
    one, two = random.randrange(len(lines)), random.randrange(len(lines))
    act = random.randrange(3)
    if act == 0:
        lines[one], lines[two] = lines[two], lines[one]
    elif act == 1:
        del lines[one]
    else:
        lines.insert(two, lines[one])
    data[:] = b"\n".join(lines)


def _number(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Another decimal number in the place of one."""
    found = list(_DIGITS.finditer(data))
    if found:
        match = random.choice(found)
        near = min(int(match[0][:20]) + random.choice((-1, 1)), 10**20)
        data[match.start() : match.end()] = str(random.choice((near, random.choice(_NUMBERS)))).encode()


def _inside_base64(random: Random, data: bytearray, inputs: Sequence[bytes]) -> None:
    """Change the bytes that a run of base64 stands for, and spell them again."""
    found = [match for match in _BASE64.finditer(data) if len(match[0]) % 4 == 0]
    if found:
        match = random.choice(found)
        inside = bytearray(base64.b64decode(match[0]))
        random.choice((_flip, _set, _insert, _delete, _cut))(random, inside, inputs)
        data[match.start() : match.end()] = base64.b64encode(inside)


CHANGES: tuple[Change, ...] = (
    _flip, _flip, _set, _insert, _delete, _repeat, _cut, _splice, _lines, _number, _inside_base64,
)  # fmt: skip
