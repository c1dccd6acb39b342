"""Requests to a witness, and servers on real sockets, for tests of what leaves the database."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socketserver import TCPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.merkle import consistency_proof
from audit.note import Scheme, VerifierKey, decode_vkey, encode_vkey
from audit.witness import Submission, Witness, write_submission
from tests.audit.outside_samples import VKEY, SampleLog, signed

NAME = "witness.example/w1"
LEAVES = SampleLog(40).leaves
FORK = [bytes(32), *LEAVES[1:]]
SECONDS = 1_700_000_000


def new_witness(folder: Path) -> Witness:
    """A witness of the sample log that has seen nothing, with a clock that stands still."""
    return Witness(folder, NAME, [VKEY], clock=lambda: SECONDS + 0.9)


def asked(old: int, size: int, leaves: Sequence[bytes] = LEAVES) -> Submission:
    """The request to go from `old` leaves to `size`."""
    return Submission(old, consistency_proof(leaves[:size], old), signed(leaves[:size]))


def body_of(old: int, size: int, leaves: Sequence[bytes] = LEAVES) -> bytes:
    """The same request as bytes."""
    return write_submission(asked(old, size, leaves))


def cosigner(name: str, key: Ed25519PrivateKey) -> VerifierKey:
    """The key under which a witness of this name cosigns."""
    return decode_vkey(encode_vkey(name, key.public_key().public_bytes_raw(), Scheme.COSIGNATURE))


def keys_of(witness: Witness) -> list[VerifierKey]:
    """A witness's own keys, as its publication reads."""
    return [decode_vkey(text) for text in witness.vkeys]


@contextmanager
def running(server: TCPServer) -> Iterator[int]:
    """Serve in a thread until the end of the block; gives the port."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
