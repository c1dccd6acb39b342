"""C2SP signed notes, verifier keys and tlog checkpoints, to the letter.

A checkpoint of ours is three lines (origin, decimal size, base64 root) and no extension lines. The key that verifies
is always given by the caller, never read from what is being verified. A log signs with Ed25519 (type 0x01) and may
sign with ML-DSA-44 beside it, which is by tlog-cosignature a cosignature of type 0x06 under the log's own name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NewType, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from audit import cosign
from audit.errors import NoteInvalid

VerifiedNote = NewType("VerifiedNote", str)
"""The text of a note of which at least one given key has a valid signature; only `open_note` makes one."""

SigningKey: TypeAlias = Ed25519PrivateKey | MLDSA44PrivateKey

MAX_NOTE_BYTES = 65_536
MAX_SIGNATURES = 16
_DASH = "\u2014"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")


class Scheme(IntEnum):
    """The type byte of a key: part of its id, so one key under two schemes has two ids."""

    ED25519 = 0x01
    """Ed25519 over the note text (signed-note)."""
    COSIGNATURE = 0x04
    """Ed25519 over time and note text (tlog-cosignature, cosignature/v1)."""
    ML_DSA_44 = 0x06
    """ML-DSA-44 over time, log and tree (tlog-cosignature)."""

    @property
    def label(self) -> str:
        """The name by which people ask for it."""
        return self.name.lower().replace("_", "-")


_PUBLIC_BYTES = {Scheme.ED25519: 32, Scheme.COSIGNATURE: 32, Scheme.ML_DSA_44: 1312}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A commitment to the first `size` records of the log called `origin`; `root` has 32 bytes."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text, newline included."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name it signs under and the scheme it signs by."""

    name: str
    scheme: Scheme
    public: bytes

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name || newline || type byte || public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes((self.scheme,)) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes((self.scheme,)) + self.public)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was verified; `seconds` is the POSIX time it states, 0 if none."""

    key: VerifierKey
    seconds: int


@dataclass(frozen=True, slots=True)
class SplitNote:
    """A note taken apart and nothing believed: its text and per signature line a name and the decoded bytes."""

    text: str
    stamps: tuple[tuple[str, bytes], ...]

    def raw(self) -> str:
        """The note put together again."""
        return f"{self.text}\n" + "".join(f"{_DASH} {name} {encode_base64(stamp)}\n" for name, stamp in self.stamps)


def check_name(name: str) -> None:
    """Raise NoteInvalid unless the key name is non-empty printable text without spaces and plus signs."""
    if not name or len(name) > 255 or "+" in name or not name.isprintable() or any(map(str.isspace, name)):
        raise NoteInvalid(f"{name[:80]!r} cannot name a log: use printable text without spaces or '+'")


def encode_vkey(name: str, public: bytes, scheme: Scheme = Scheme.ED25519) -> str:
    """`name+hash+key`, the form in which a verifier key is printed and pinned."""
    check_name(name)
    return str(VerifierKey(name, scheme, public))


def decode_vkey(text: str) -> VerifierKey:
    """Parse a verifier key; raises NoteInvalid when it is of no known type or does not match its own hash."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise NoteInvalid("a verifier key reads name+hash+key; copy it whole, as the log printed it")
    name, digest, encoded = parts
    check_name(name)
    raw = decode_base64(encoded, "the verifier key")
    if not raw or raw[0] not in set(Scheme) or len(raw) - 1 != _PUBLIC_BYTES[Scheme(raw[0])]:
        raise NoteInvalid("a verifier key is Ed25519, an Ed25519 cosignature key or ML-DSA-44")
    key = VerifierKey(name, Scheme(raw[0]), raw[1:])
    if digest != key.key_id.hex():
        raise NoteInvalid("the verifier key does not match its own hash; copy it again")
    return key


def sign_note(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """The note of a text, which must end in a newline, with one signature line."""
    if not text.endswith("\n"):
        raise NoteInvalid("the text of a note ends in a newline")
    return f"{text}\n{_line(text, name, Scheme.ED25519, key, 0)}"


def sign_checkpoint(checkpoint: Checkpoint, *keys: SigningKey) -> str:
    """The signed note of a checkpoint, one line per key; all keys sign under the log's origin.

    An ML-DSA-44 line states the time 0: a log says what its tree is, not what it has seen. Such a line differs
    each time it is made, the text never does.
    """
    text = checkpoint.text()
    if not keys:
        raise NoteInvalid("a checkpoint needs a key to sign it")
    lines = (_line(text, checkpoint.origin, _log_scheme(key), key, 0) for key in keys)
    return f"{text}\n{''.join(lines)}"


def cosignature_line(text: str, name: str, key: SigningKey, seconds: int) -> str:
    """A witness's signature line over a checkpoint's text, seen at `seconds` (POSIX time)."""
    scheme = Scheme.ML_DSA_44 if isinstance(key, MLDSA44PrivateKey) else Scheme.COSIGNATURE
    return _line(text, name, scheme, key, seconds)


def _log_scheme(key: SigningKey) -> Scheme:
    return Scheme.ML_DSA_44 if isinstance(key, MLDSA44PrivateKey) else Scheme.ED25519


def _line(text: str, name: str, scheme: Scheme, key: SigningKey, seconds: int) -> str:
    check_name(name)
    public = VerifierKey(name, scheme, key.public_key().public_bytes_raw())
    signature = key.sign(_message(text, public, seconds))
    time = b"" if scheme is Scheme.ED25519 else seconds.to_bytes(8, "big")
    return f"{_DASH} {name} {encode_base64(public.key_id + time + signature)}\n"


def _message(text: str, key: VerifierKey, seconds: int) -> bytes:
    if key.scheme is Scheme.ED25519:
        return text.encode()
    if key.scheme is Scheme.COSIGNATURE:
        return cosign.timed_text(text, seconds)
    tree = parse_checkpoint(text)
    if tree.text() != text:
        raise NoteInvalid("an ML-DSA-44 signature does not cover extension lines, and this checkpoint has some")
    return cosign.timed_tree(key.name, seconds, tree.origin, tree.size, tree.root)


def split_note(raw: str) -> SplitNote:
    """Take a note apart without verifying anything; raises NoteInvalid for another shape than the specification's."""
    if len(raw.encode("utf-8", "surrogatepass")) > MAX_NOTE_BYTES or _FORBIDDEN.search(raw):
        raise NoteInvalid("a note is at most 64 KiB of text without control characters")
    text, separator, block = raw.rpartition("\n\n")
    if not separator or not text or not block.endswith("\n"):
        raise NoteInvalid("a note is text, an empty line and signature lines")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteInvalid(f"a note carries at most {MAX_SIGNATURES} signatures")
    return SplitNote(text + "\n", tuple(map(_stamp, lines)))


def verify_note(note: SplitNote, keys: Sequence[VerifierKey]) -> tuple[Signature, ...]:
    """The signatures of `keys` on a note, in its order; those of strangers are ignored.

    Raises NoteInvalid when a line under a given name and id is wrong, or when a key signed more than once.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found = [_verify(note.text, known[name, stamp[:4]], stamp[4:])
             for name, stamp in note.stamps if (name, stamp[:4]) in known]  # fmt: skip
    if len({signature.key for signature in found}) != len(found):
        raise NoteInvalid("a key signed this note more than once")
    return tuple(found)


def open_note(raw: str, keys: Sequence[VerifierKey], required: Collection[Scheme] = ()) -> VerifiedNote:
    """The text of a note that one of `keys` has signed, and one of each `required` scheme; raises NoteInvalid."""
    note = split_note(raw)
    schemes = {signature.key.scheme for signature in verify_note(note, keys)}
    if not schemes:
        raise NoteInvalid("the note is not signed by a key that was given")
    if missing := set(required) - schemes:
        names = " or ".join(sorted(scheme.label for scheme in missing))
        raise NoteInvalid(f"no {names} key that was given has signed the note")
    return VerifiedNote(note.text)


def _stamp(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH:
        raise NoteInvalid("a signature line is a dash, a name and base64")
    check_name(parts[1])
    stamp = decode_base64(parts[2], "a signature")
    if len(stamp) < 5:
        raise NoteInvalid("a signature is too short")
    return parts[1], stamp


def _verify(text: str, key: VerifierKey, stamp: bytes) -> Signature:
    seconds = 0
    if key.scheme is not Scheme.ED25519:
        seconds, stamp = int.from_bytes(stamp[:8], "big"), stamp[8:]
    message = _message(text, key, seconds)
    kind = MLDSA44PublicKey if key.scheme is Scheme.ML_DSA_44 else Ed25519PublicKey
    try:
        kind.from_public_bytes(key.public).verify(stamp, message)
    except (InvalidSignature, ValueError) as error:
        raise NoteInvalid(f"the signature of {key.name} is wrong") from error
    except UnsupportedAlgorithm as error:
        raise NoteInvalid(f"this build of cryptography cannot check the ML-DSA-44 signature of {key.name}") from error
    return Signature(key, seconds)


def open_checkpoint(raw: str, keys: Sequence[VerifierKey], origin: str, required: Collection[Scheme] = ()) -> Checkpoint:
    """The checkpoint in a note signed for exactly this `origin`, as `open_note` demands; raises NoteInvalid."""
    text = open_note(raw, keys, required)
    found = parse_checkpoint(text)
    if found.text() != text:
        raise NoteInvalid("a checkpoint has an origin, a size and a root, and no further lines")
    if found.origin != origin:
        raise NoteInvalid(f"the checkpoint is of the log {found.origin!r}, not of {origin!r}")
    return found


def parse_checkpoint(text: str) -> Checkpoint:
    """The first three lines of a checkpoint's text, unverified; further lines must not be empty. Raises NoteInvalid."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise NoteInvalid("a checkpoint is a text of an origin, a size and a root, one a line")
    digest = decode_base64(lines[2], "a root")
    if not _SIZE.fullmatch(lines[1]) or len(digest) != 32 or int(lines[1]) >> 63:
        raise NoteInvalid("the size or root of a checkpoint is not in its one form")
    return Checkpoint(lines[0], int(lines[1]), digest)


def tree_of(raw: str) -> Checkpoint:
    """The checkpoint that a note is of, unverified. Raises NoteInvalid."""
    return parse_checkpoint(split_note(raw).text)


def encode_base64(raw: bytes) -> str:
    """Standard base64, padded, on one line."""
    return base64.b64encode(raw).decode("ascii")


def decode_base64(text: str, what: str) -> bytes:
    """The bytes of standard base64 in its one form; raises NoteInvalid naming `what`."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteInvalid(f"{what} is not base64") from error
    if encode_base64(raw) != text:
        raise NoteInvalid(f"{what} is not in the one base64 form")
    return raw
