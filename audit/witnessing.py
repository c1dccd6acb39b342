"""Asking a witness: one add-checkpoint over HTTP, and what of its answer may be believed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus

from audit import note
from audit.errors import AuditError, NoteInvalid
from audit.note import VerifierKey
from audit.outbound import Answer, http_url, request
from audit.tiles import TileReader, consistency_from_tiles
from audit.witness import Submission, write_submission

_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n")


class WitnessRefused(AuditError):
    """The witness did not cosign; the message has its status and first words."""


class LogUnwatched(WitnessRefused):
    """The witness does not know this log."""


class WitnessElsewhere(AuditError):
    """The witness last saw a tree of `size`, not the one that was named as old: prove from there."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the witness has last seen a tree of {size}")
        self.size = size


def submit(prefix: str, submission: Submission, keys: Sequence[VerifierKey]) -> str:
    """Ask the witness at a URL prefix once; returns the note with its verified cosignatures added.

    `keys` are the witness's, and only lines under them are taken over. Raises WitnessElsewhere for another old size,
    WitnessRefused for every other refusal, NoteInvalid for an answer that does not verify, Unreachable.
    """
    url = http_url(f"{prefix.rstrip('/')}/add-checkpoint")
    answer = request("POST", url, {"Content-Type": "text/plain; charset=utf-8"}, write_submission(submission))
    if answer.status == HTTPStatus.CONFLICT and answer.headers.get("content-type") == "text/x.tlog.size":
        raise WitnessElsewhere(_size(answer, submission))
    text = answer.body.decode("utf-8", "replace")
    if answer.status != HTTPStatus.OK:
        refusal = LogUnwatched if answer.status == HTTPStatus.NOT_FOUND else WitnessRefused
        raise refusal(f"the witness answered {answer.status}: {text[:200]!r}")
    return _merge(submission.note, text, keys)


def _size(answer: Answer, submission: Submission) -> int:
    match = _SIZE.fullmatch(answer.body.decode("ascii", "replace"))
    if match is None or int(match[1]) >> 63:
        raise WitnessRefused("the witness names no size that a tree can have")
    if int(match[1]) == submission.old_size:
        raise WitnessRefused("the witness has seen another tree of this size: two histories exist; keep every checkpoint")
    return int(match[1])


def _merge(raw: str, lines: str, keys: Sequence[VerifierKey]) -> str:
    """The note with those lines that `keys` verify, in place of earlier ones of theirs; strangers' are left out."""
    signed = note.split_note(raw)
    answered = note.split_note(f"{signed.text}\n{lines}")
    if answered.text != signed.text:
        raise NoteInvalid("the witness answered more than signature lines")
    found = note.verify_note(answered, keys)
    if not found or not all(signature.seconds for signature in found):
        raise NoteInvalid("the witness answered without a cosignature, with a time, of its own key")
    known = {(key.name, key.key_id) for key in keys}
    kept = [stamp for stamp in signed.stamps if (stamp[0], stamp[1][:4]) not in known]
    taken = [stamp for stamp in answered.stamps if (stamp[0], stamp[1][:4]) in known]
    merged = note.SplitNote(signed.text, (*kept, *taken)).raw()
    note.split_note(merged)
    return merged


def cosign_from_tiles(prefix: str, raw: str, reader: TileReader, keys: Sequence[VerifierKey], old_size: int = 0) -> str:
    """Have a note cosigned, proving from `old_size` and, if the witness stands elsewhere, once more from there.

    Returns and raises like `submit`; ProofInvalid or MalformedData when the tiles cannot prove it. A witness that has
    seen more records than the note covers raises WitnessElsewhere: the note is old, or the log went back in time.
    """
    size = note.tree_of(raw).size

    def attempt(old: int) -> str:
        return submit(prefix, Submission(old, consistency_from_tiles(reader, old, size), raw), keys)

    return _twice(attempt, old_size, size)


def _twice(attempt: Callable[[int], str], old_size: int, size: int) -> str:
    try:
        return attempt(old_size)
    except WitnessElsewhere as elsewhere:
        if elsewhere.size > size:
            raise
        return attempt(elsewhere.size)
