"""A C2SP tlog-witness: it cosigns checkpoints of logs it knows, each only if it extends the one before.

The newest checkpoint of each log lies in a folder of its own and is durable before a cosignature leaves. Run it on a
machine that the log's operators cannot write: then a log that shows two histories needs two sets of accomplices.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from audit import note
from audit.durable import locked, make_folder, own_secret, write_durably
from audit.errors import KeyUnavailable, NoteInvalid, ProofInvalid
from audit.merkle import EMPTY_ROOT, verify_consistency
from audit.note import MAX_NOTE_BYTES, Checkpoint, Scheme, SigningKey, SplitNote, VerifierKey

MAX_PATH = 63
MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 4096
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_TEXT = "text/plain; charset=utf-8"
_SIZE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the witness answers over HTTP."""

    status: HTTPStatus
    body: str
    content_type: str = _TEXT


@dataclass(frozen=True, slots=True)
class Submission:
    """An add-checkpoint request taken apart; nothing is verified."""

    old_size: int
    path: tuple[bytes, ...]
    note: str


def write_submission(submission: Submission) -> bytes:
    """The body of an add-checkpoint request."""
    lines = [f"old {submission.old_size}", *map(note.encode_base64, submission.path), "", submission.note]
    return "\n".join(lines).encode()


def read_submission(body: bytes) -> Submission:
    """Parse an add-checkpoint request; raises NoteInvalid for every other spelling than the specification's."""
    if len(body) > MAX_REQUEST_BYTES:
        raise NoteInvalid("a request is too long")
    try:
        head, separator, signed = body.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError as error:
        raise NoteInvalid("a request is UTF-8 text") from error
    first, *lines = head.split("\n")
    match = _OLD.fullmatch(first)
    if match is None or int(match[1]) >> 63 or not separator or len(lines) > MAX_PATH:
        raise NoteInvalid(f"a request is 'old' and a size, at most {MAX_PATH} hashes, an empty line and a checkpoint")
    path = tuple(note.decode_base64(line, "a hash of a proof") for line in lines)
    if any(len(item) != 32 for item in path):
        raise NoteInvalid("a hash of a proof has 32 bytes")
    return Submission(int(match[1]), path, signed)


class Witness:
    """One witness: its name and keys, the logs it watches and the newest tree of each. Safe for several threads."""

    def __init__(self, folder: Path, name: str, logs: Sequence[VerifierKey], clock: Callable[[], float] = time.time) -> None:
        """Watch the logs whose verifier keys are given; a log's origin is the name of its key.

        Keys are made in `folder` on first use. Raises NoteInvalid for an unusable name, KeyUnavailable for a damaged
        folder.
        """
        note.check_name(name)
        self._name, self._clock = name, clock
        self._folder = folder / "logs"
        make_folder(self._folder)
        with locked(folder):
            self._keys: tuple[SigningKey, ...] = (
                Ed25519PrivateKey.from_private_bytes(own_secret(folder / "ed25519.key")),
                MLDSA44PrivateKey.from_seed_bytes(own_secret(folder / "mldsa44.key")),
            )
        self._logs: dict[str, list[VerifierKey]] = {}
        for key in logs:
            self._logs.setdefault(key.name, []).append(key)

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The verifier keys of its cosignatures; publish them beside its URL."""
        schemes = (Scheme.COSIGNATURE, Scheme.ML_DSA_44)
        return tuple(note.encode_vkey(self._name, key.public_key().public_bytes_raw(), scheme)
                     for key, scheme in zip(self._keys, schemes, strict=True))  # fmt: skip

    def add_checkpoint(self, body: bytes) -> Reply:
        """Judge one request in the order of the specification; a cosignature leaves only after the state is durable."""
        try:
            asked = read_submission(body)
            signed = note.split_note(asked.note)
            claimed = note.parse_checkpoint(signed.text)
        except NoteInvalid as error:
            return Reply(HTTPStatus.BAD_REQUEST, f"{error}\n")
        keys = self._logs.get(claimed.origin)
        if keys is None:
            return Reply(HTTPStatus.NOT_FOUND, "this witness does not watch that log\n")
        try:
            if not note.verify_note(signed, keys):
                raise NoteInvalid("no key of this log has signed the checkpoint")
        except NoteInvalid as error:
            return Reply(HTTPStatus.FORBIDDEN, f"{error}\n")
        if asked.old_size > claimed.size:
            return Reply(HTTPStatus.BAD_REQUEST, "the old size is larger than the checkpoint\n")
        with locked(self._folder):
            return self._extend(asked, signed, claimed)

    def _extend(self, asked: Submission, signed: SplitNote, claimed: Checkpoint) -> Reply:
        newest = self._newest(claimed.origin)
        forked = claimed.size == newest.size and claimed.root != newest.root
        if asked.old_size != newest.size or forked:
            return Reply(HTTPStatus.CONFLICT, f"{newest.size}\n", _SIZE)
        try:
            verify_consistency(newest.size, newest.root, claimed.size, claimed.root, asked.path)
        except ProofInvalid as error:
            return Reply(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}\n")
        seconds = int(self._clock())
        try:
            lines = [note.cosignature_line(signed.text, self._name, key, seconds) for key in self._usable(signed)]
        except NoteInvalid as error:
            return Reply(HTTPStatus.BAD_REQUEST, f"{error}\n")
        self._store(claimed, asked.note)
        return Reply(HTTPStatus.OK, "".join(lines))

    def _usable(self, signed: SplitNote) -> tuple[SigningKey, ...]:
        """The keys that can sign this text: ML-DSA-44 covers no extension lines, so such a note gets Ed25519 only."""
        plain = note.parse_checkpoint(signed.text).text() == signed.text
        return self._keys if plain else self._keys[:1]

    def _path(self, origin: str) -> Path:
        return self._folder / f"{quote(origin, safe='')}.json"

    def _newest(self, origin: str) -> Checkpoint:
        path = self._path(origin)
        if not path.exists():
            return Checkpoint(origin, 0, EMPTY_ROOT)
        try:
            stored = json.loads(path.read_bytes())
            found = note.tree_of(stored["note"])
        except (KeyError, TypeError, ValueError, AttributeError, NoteInvalid) as error:
            raise KeyUnavailable(f"{path} is damaged; a witness never guesses what it has seen") from error
        if found.origin != origin:
            raise KeyUnavailable(f"{path} is of the log {found.origin!r}; a witness never guesses what it has seen")
        return found

    def _store(self, claimed: Checkpoint, raw: str) -> None:
        write_durably(self._path(claimed.origin), json.dumps({"note": raw}).encode())
