"""C2SP signed notes, verifier keys and tlog checkpoints, to the letter, for Ed25519.

A checkpoint is three lines (origin, decimal size, base64 root) and no extension lines. The key that verifies
is always given by the caller, never read from what is being verified.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.errors import NoteInvalid

VerifiedNote = NewType("VerifiedNote", str)
"""The text of a note of which at least one given key has a valid signature; only `open_note` makes one."""

MAX_NOTE_BYTES = 65_536
MAX_SIGNATURES = 16
_ED25519 = b"\x01"
_DASH = "\u2014"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


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
    """A public key with the name it signs under."""

    name: str
    key_id: bytes
    public: bytes


def check_name(name: str) -> None:
    """Raise NoteInvalid unless the key name is non-empty printable text without spaces and plus signs."""
    if not name or len(name) > 255 or "+" in name or not name.isprintable() or any(map(str.isspace, name)):
        raise NoteInvalid(f"{name!r} cannot name a log: use printable text without spaces or '+'")


def key_hash(name: str, public: bytes) -> bytes:
    """First four bytes of SHA-256(name || newline || algorithm || public key)."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def encode_vkey(name: str, public: bytes) -> str:
    """`name+hash+key`, the form in which a verifier key is printed and pinned."""
    check_name(name)
    return f"{name}+{key_hash(name, public).hex()}+{base64.b64encode(_ED25519 + public).decode('ascii')}"


def decode_vkey(text: str) -> VerifierKey:
    """Parse a verifier key; raises NoteInvalid when it is not an Ed25519 key that matches its own hash."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise NoteInvalid("a verifier key reads name+hash+key; copy it whole, as the log printed it")
    name, digest, encoded = parts
    check_name(name)
    key = _base64(encoded, "the verifier key")
    if len(key) != 33 or key[:1] != _ED25519:
        raise NoteInvalid("only Ed25519 verifier keys are supported")
    if digest != key_hash(name, key[1:]).hex():
        raise NoteInvalid("the verifier key does not match its own hash; copy it again")
    return VerifierKey(name, key_hash(name, key[1:]), key[1:])


def sign_note(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """The note of a text, which must end in a newline, with one signature line."""
    check_name(name)
    if not text.endswith("\n"):
        raise NoteInvalid("the text of a note ends in a newline")
    stamp = key_hash(name, key.public_key().public_bytes_raw()) + key.sign(text.encode())
    return f"{text}\n{_DASH} {name} {base64.b64encode(stamp).decode('ascii')}\n"


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note of a checkpoint; the key signs under the log's origin."""
    return sign_note(checkpoint.text(), checkpoint.origin, key)


def open_note(raw: str, keys: Sequence[VerifierKey]) -> VerifiedNote:
    """The text of a note signed by at least one of `keys`.

    Signatures of strangers are ignored; a wrong signature under a known name and hash, or any other shape
    than the specification's, raises NoteInvalid.
    """
    if len(raw.encode("utf-8", "surrogatepass")) > MAX_NOTE_BYTES or any(_forbidden(char) for char in raw):
        raise NoteInvalid("a note is at most 64 KiB of text without control characters")
    text, separator, block = raw.rpartition("\n\n")
    if not separator or not text or not block.endswith("\n"):
        raise NoteInvalid("a note is text, an empty line and signature lines")
    text += "\n"
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteInvalid(f"a note carries at most {MAX_SIGNATURES} signatures")
    signers = [_check_line(line, text, keys) for line in lines]
    known = [signer for signer in signers if signer is not None]
    if not known or len(set(known)) != len(known):
        raise NoteInvalid("the note is not signed, once, by a key that was given")
    return VerifiedNote(text)


def _forbidden(char: str) -> bool:
    return (char < " " and char != "\n") or char == "\x7f" or "\ud800" <= char <= "\udfff"


def _check_line(line: str, text: str, keys: Sequence[VerifierKey]) -> VerifierKey | None:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH:
        raise NoteInvalid("a signature line is a dash, a name and base64")
    check_name(parts[1])
    stamp = _base64(parts[2], "a signature")
    if len(stamp) < 5:
        raise NoteInvalid("a signature is too short")
    for key in keys:
        if (key.name, key.key_id) == (parts[1], stamp[:4]):
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(stamp[4:], text.encode())
            except (InvalidSignature, ValueError) as error:
                raise NoteInvalid(f"the signature of {key.name} is wrong") from error
            return key
    return None


def open_checkpoint(raw: str, keys: Sequence[VerifierKey], origin: str) -> Checkpoint:
    """The checkpoint in a note signed by one of `keys` for exactly this `origin`; raises NoteInvalid."""
    lines = open_note(raw, keys).split("\n")
    if len(lines) != 4:
        raise NoteInvalid("a checkpoint has an origin, a size and a root, and no further lines")
    name, size, root, _ = lines
    if name != origin:
        raise NoteInvalid(f"the checkpoint is of the log {name!r}, not of {origin!r}")
    digest = _base64(root, "a root")
    if not _SIZE.fullmatch(size) or len(digest) != 32:
        raise NoteInvalid("the size or root of a checkpoint is not in its one form")
    return Checkpoint(name, int(size), digest)


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteInvalid(f"{what} is not base64") from error
    if base64.b64encode(raw).decode("ascii") != text:
        raise NoteInvalid(f"{what} is not in the one base64 form")
    return raw
