"""An anchor: what the log of checkpoints says of another log, as one line that proves it to whoever knows that log's keys.

The log of checkpoints is that of tenant `system`: its records of kind 55 say how far every other log had come. An anchor is the
newest of them about one log: its header, its sealed body with the key that opens this body alone, and its tlog-proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from audit import bundle
from audit.acts import Anchored
from audit.errors import MalformedData, ProofInvalid
from audit.header import MAX_HEADER_BYTES, decode_header
from audit.note import Checkpoint, VerifierKey
from audit.proof import MAX_PROOF_BYTES, check_proof
from audit.records import decode_body
from audit.sealing import RequestKey, unseal

MAX_ANCHOR_BYTES = 3 * MAX_PROOF_BYTES
"""Of a line. Escapes make a proof, most of which is base64, hardly longer."""
_MAX_SEALED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Anchor:
    """One record of the log of checkpoints, and all that reads and proves it. Nothing of it is verified."""

    header: bytes
    sealed: bytes
    key: RequestKey
    proof: str

    def line(self) -> bytes:
        """Its one spelling."""
        return bundle.json_line({
            "body": bundle.encode_bytes(self.sealed), "header": bundle.encode_bytes(self.header),
            "key": bundle.encode_bytes(self.key), "proof": self.proof,
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """A tree that a log had, by somebody else's word: `whose` word, for people."""

    whose: str
    tree: Checkpoint


def read_anchor(line: bytes) -> Anchor:
    """Take a line apart; raises MalformedData for every other spelling."""
    if len(line) > MAX_ANCHOR_BYTES:
        raise MalformedData(f"an anchor has at most {MAX_ANCHOR_BYTES} bytes")
    entry = bundle.parse_line(line, frozenset({"body", "header", "key", "proof"}))
    key, proof = bundle.decode_bytes(entry["key"], 32), entry["proof"]
    if len(key) != 32 or not isinstance(proof, str):
        raise MalformedData("an anchor has a key of 32 bytes and a proof of text")
    sealed = bundle.decode_bytes(entry["body"], _MAX_SEALED_BYTES)
    return Anchor(bundle.decode_bytes(entry["header"], MAX_HEADER_BYTES), sealed, RequestKey(key), proof)


def check_anchor(anchor: Anchor, keys: Sequence[VerifierKey], origin: str) -> Kept:
    """Verify an anchor of the log `origin` under the keys of the log of checkpoints, whose name they bear.

    Raises MalformedData for what does not read, NoteInvalid for signatures, ProofInvalid and SealBroken for a record that is
    not there or says something else.
    """
    proven = check_proof(anchor.proof, anchor.header, keys, keys[0].name)
    said = tree_said(anchor)
    if said.origin != origin:
        raise ProofInvalid(f"record {proven.header.seq} of the log of checkpoints says nothing of the log {origin!r}")
    return Kept(f"record {proven.header.seq} of the log {proven.checkpoint.origin}", said)


def tree_said(anchor: Anchor) -> Checkpoint:
    """The tree that an anchor's record tells of, wherever the record lies. Raises as `check_anchor` but for signatures."""
    header = decode_header(anchor.header)
    if hashlib.sha256(anchor.sealed).digest() != header.body_sha256:
        raise ProofInvalid(f"record {header.seq} of the log of checkpoints has another body than this anchor")
    body = decode_body(header.kind, header.schema, unseal(anchor.key, header.tenant, header.record, anchor.sealed))
    if not isinstance(body, Anchored):
        raise ProofInvalid(f"record {header.seq} of the log of checkpoints says nothing of another log")
    return Checkpoint(body.origin, body.size, body.root)
