"""Checkpoints of one log, and of another history of it, for tests of shipping."""

import json

from tests.audit.outside_samples import SampleLog, signed

LEAVES = SampleLog(12).leaves
NOTES = [signed(LEAVES[:size]) for size in range(1, 13)]
FORK = signed([bytes(32), *LEAVES[1:5]])
SECRETS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}


def line_of(note: str) -> bytes:
    """A line of the file that the signer appends to."""
    return json.dumps(note).encode() + b"\n"
