"""C2SP tlog-proof: one text that proves, offline, that one record is in a log.

The proof says where the record lies and brings the audit path and a signed checkpoint. Who checks it brings the record's
header, the log's keys and name and, if wished, the witnesses that must have seen the checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from audit.errors import MalformedData, NoteInvalid, ProofInvalid
from audit.header import Header, decode_header, leaf_hash
from audit.merkle import verify_inclusion
from audit.note import (
    MAX_NOTE_BYTES,
    Checkpoint,
    Scheme,
    Signature,
    VerifierKey,
    decode_base64,
    encode_base64,
    open_checkpoint,
    tree_of,
)
from audit.quorum import Cosigned, Quorum, open_cosigned
from audit.tiles import TileReader, proofs_from_tiles

MAX_PATH = 63
MAX_EXTRA_BYTES = 4096
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 12_288
_FIRST = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class LogProof:
    """A proof taken apart and not verified: the record's index, its audit path, the signed note.

    `extra` is whatever else was put in; nothing signs it.
    """

    index: int
    path: tuple[bytes, ...]
    note: str
    extra: bytes = b""

    def text(self) -> str:
        """The proof as it is stored, by custom in a file `.tlog-proof`."""
        extra = [f"extra {encode_base64(self.extra)}"] if self.extra else []
        lines = [_FIRST, *extra, f"index {self.index}", *map(encode_base64, self.path), "", self.note]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof has shown: this header is the record of its seq in the tree of this checkpoint."""

    header: Header
    checkpoint: Checkpoint
    witnesses: tuple[Signature, ...]


def make_proof(reader: TileReader, index: int, note: str) -> str:
    """The proof of record `index` in the tree of a signed note, from the log's own tiles.

    The note's signatures are not checked here, but a proof that its root does not bear out is never returned: raises
    ProofInvalid for tiles of another tree, and for a record that the checkpoint does not cover.
    """
    (proof,) = make_proofs(reader, (index,), note)
    return proof


def make_proofs(reader: TileReader, indices: Sequence[int], note: str) -> Iterator[str]:
    """The same for several records under one note, in their order; what they share is read and computed once."""
    signed = tree_of(note)
    for index, (leaf, path) in zip(indices, proofs_from_tiles(reader, indices, signed.size), strict=True):
        verify_inclusion(leaf, index, signed.size, path, signed.root)
        yield LogProof(index, path, note).text()


def parse_proof(text: str) -> LogProof:
    """Take a proof apart; raises MalformedData for every other spelling than the specification's."""
    if len(text) > MAX_PROOF_BYTES:
        raise MalformedData("a proof is at most 76 KiB of text")
    head, separator, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if first != _FIRST or not separator:
        raise MalformedData(f"a proof starts with the line {_FIRST} and has an empty line before its checkpoint")
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = _decode(lines.pop(0).removeprefix("extra "), "the extra data of a proof")
        if not 1 <= len(extra) <= MAX_EXTRA_BYTES:
            raise MalformedData(f"the extra data of a proof has 1 to {MAX_EXTRA_BYTES} bytes")
    match = _INDEX.fullmatch(lines.pop(0)) if lines else None
    if match is None or int(match[1]) >> 63 or len(lines) > MAX_PATH:
        raise MalformedData(f"a proof names one index and has at most {MAX_PATH} hashes")
    path = tuple(_decode(line, "a hash of a proof") for line in lines)
    if any(len(item) != 32 for item in path):
        raise MalformedData("a hash of a proof has 32 bytes")
    return LogProof(int(match[1]), path, note, extra)


def _decode(line: str, what: str) -> bytes:
    try:
        return decode_base64(line, what)
    except NoteInvalid as error:
        raise MalformedData(str(error)) from error


def check_proof(
    text: str,
    header: bytes,
    keys: Sequence[VerifierKey],
    origin: str,
    witnesses: Quorum | None = None,
    required: Collection[Scheme] = (),
) -> Proven:
    """Verify that stored header bytes are a record of the log `origin`, under a checkpoint signed by one of `keys`.

    The checkpoint must bear a signature of each `required` scheme and, with `witnesses`, be cosigned as well. Raises
    MalformedData for a proof or header that does not read, NoteInvalid for signatures, ProofInvalid when the record is not
    where the proof puts it.
    """
    proof = parse_proof(text)
    record = decode_header(header)
    seen = Cosigned(open_checkpoint(proof.note, keys, origin, required), ())
    if witnesses is not None:
        seen = open_cosigned(proof.note, keys, origin, witnesses)
    if record.seq != proof.index:
        raise ProofInvalid(f"the header is that of record {record.seq}, the proof is for {proof.index}")
    verify_inclusion(leaf_hash(header), proof.index, seen.checkpoint.size, proof.path, seen.checkpoint.root)
    return Proven(record, seen.checkpoint, seen.witnesses)
