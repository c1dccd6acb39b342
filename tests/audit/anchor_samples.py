"""A log of checkpoints with real keys, and anchors out of it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.acts import Anchored
from audit.anchor import Anchor
from audit.header import decode_header
from audit.merkle import inclusion_proof
from audit.note import cosignature_line, split_note, tree_of
from audit.proof import LogProof
from audit.records import Kind
from audit.sealing import request_key
from tests.audit.samples import ORIGIN, SAMPLES, Log
from tests.audit.witness_samples import cosigner

OTHERS = "palimpsest.test/system"
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
SEEN_BY = cosigner("witness.example/w1", WITNESS)


class Checkpoints:
    """The log of checkpoints, in which the trees of other logs are recorded."""

    def __init__(self, folder: Path) -> None:
        self.log = Log(folder, tenant="system", origin=OTHERS)
        self.log.add(None, [SAMPLES[Kind.TENANT_MADE]])

    @property
    def vkeys(self) -> tuple[str, ...]:
        return self.log.signer.vkeys

    def anchor(self, note: str, origin: str = ORIGIN) -> Anchor:
        """Record the tree of a log's note, and make the anchor that tells it."""
        tree = tree_of(note)
        self.log.add(None, [Anchored(origin, tree.size, tree.root, "anchoring")], actor="anchoring")
        return self.shown(len(self.log.rows) - 1)

    def shown(self, seq: int, seconds: int | None = None) -> Anchor:
        """Any record as an anchor shows it, under a checkpoint that the witness has seen if it says when."""
        note, row = self.log.checkpoint(), self.log.rows[seq]
        if seconds is not None:
            note += cosignature_line(split_note(note).text, SEEN_BY.name, WITNESS, seconds)
        header = decode_header(row.header)
        key = request_key(self.log.keys.find(header.key_id).secret, header.scope)
        proof = LogProof(seq, tuple(inclusion_proof(self.log.leaves, seq)), note).text()
        assert row.body is not None
        return Anchor(row.header, row.body, key, proof)
