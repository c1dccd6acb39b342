"""What a timestamped signature signs: the two messages of C2SP tlog-cosignature, as pure bytes.

`cosignature/v1` (Ed25519, type 0x04) puts a header and the time before the whole note text. The ML-DSA-44 message
(type 0x06) names cosigner, log, size and root in fixed places and covers no extension lines. Both are spelled
so that they can never be mistaken for a plain note, which an ordinary Ed25519 signature (type 0x01) covers.
"""

from __future__ import annotations

import struct

from audit.errors import NoteInvalid

MAX_SECONDS = (1 << 63) - 1
_LABEL = b"subtree/v1\n\x00"


def timed_text(text: str, seconds: int) -> bytes:
    """The Ed25519 message: a note text seen at `seconds` (POSIX time)."""
    _check_seconds(seconds)
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def timed_tree(cosigner: str, seconds: int, origin: str, size: int, root: bytes) -> bytes:
    """The ML-DSA-44 message: the tree of `origin` with `size` leaves and a root of 32 bytes.

    `seconds` is 0 where the cosigner does not say that no larger tree was seen. Raises NoteInvalid for a name
    that the message cannot hold.
    """
    _check_seconds(seconds)
    if len(root) != 32 or not 0 <= size < 1 << 64:
        raise NoteInvalid("a tree to be cosigned has a size and a root of 32 bytes")
    numbers = struct.pack(">QQ", 0, size)
    return b"".join((_LABEL, _short(cosigner), struct.pack(">Q", seconds), _short(origin), numbers, root))


def _check_seconds(seconds: int) -> None:
    if not 0 <= seconds <= MAX_SECONDS:
        raise NoteInvalid("the time of a cosignature is a POSIX time below 2^63")


def _short(name: str) -> bytes:
    raw = name.encode()
    if not 1 <= len(raw) <= 255:
        raise NoteInvalid(f"{name[:40]!r} cannot stand in an ML-DSA-44 cosignature: a name takes 1 to 255 bytes")
    return bytes((len(raw),)) + raw
