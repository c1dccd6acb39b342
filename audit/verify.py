"""Verifies an export bundle offline, from public inputs only: the bundle, verifier keys and the log's origin.

The verifier is the security boundary: it takes no key, name or count from the bundle on trust, re-hashes
every body, and says what it did not check. It never returns VERIFIED for a bundle of which a byte was
changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from itertools import islice
from pathlib import Path
from uuid import UUID

from audit import bundle, note
from audit.absences import Absences
from audit.anchor import MAX_ANCHOR_BYTES, Kept, check_anchor, read_anchor
from audit.bundle import Json, Manifest, Measured
from audit.derived import MAX_LINE_BYTES, altered_files, unlisted_files
from audit.errors import MalformedData, NoteInvalid, ProofInvalid, SealBroken
from audit.header import MAX_HEADER_BYTES, MAX_SEALED_BYTES, Header, LeafHash, decode_header, leaf_hash
from audit.merkle import CompactRange
from audit.note import Checkpoint, Scheme, VerifierKey
from audit.proof import parse_proof
from audit.quorum import Quorum
from audit.records import Body, decode_body, is_known, kind_name
from audit.sealing import Box, RequestKey
from audit.standing import Standing
from audit.stories import Ending, Stories

MAX_FINDINGS = 50
MAX_STRANGE = 1000


class Verdict(IntEnum):
    """The outcome; its number is the exit status."""

    VERIFIED = 0
    TAMPERED = 1
    MALFORMED = 2
    INCOMPLETE = 3


_WORST_FIRST = (Verdict.TAMPERED, Verdict.MALFORMED, Verdict.INCOMPLETE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with the record it was found in where there is one."""

    verdict: Verdict
    message: str
    seq: int | None = None
    record: UUID | None = None
    kind: int | None = None

    def __str__(self) -> str:
        if self.seq is None:
            return f"{self.verdict.name.lower()}: {self.message}"
        where = f"record seq {self.seq}"
        if self.record is not None and self.kind is not None:
            where += f" (id {self.record}, kind {self.kind} {kind_name(self.kind)})"
        return f"{self.verdict.name.lower()}: {where}: {self.message}"


@dataclass(slots=True)
class Report:
    """What was found and what was not looked at. `verdict` is the worst finding."""

    origin: str
    tenant: str = ""
    records: int = 0
    covered: int = 0
    """Records under the newest checkpoint of the bundle."""
    witnessed: int | None = None
    """Records under the newest checkpoint that the demanded witnesses have seen; None where none were demanded."""
    anchored: int | None = None
    """Records that the log of checkpoints bears out; None where that was not proven."""
    root: bytes = b""
    checkpoints: int = 0
    decrypted: int = 0
    requests: dict[Ending, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    suppressed: int = 0
    unchecked: list[str] = field(default_factory=list)
    _worst: set[Verdict] = field(default_factory=set)

    @property
    def verdict(self) -> Verdict:
        """Tampered before malformed before incomplete before verified."""
        return next((verdict for verdict in _WORST_FIRST if verdict in self._worst), Verdict.VERIFIED)

    def add(self, finding: Finding) -> None:
        """Note a finding; beyond MAX_FINDINGS only its verdict and number are kept."""
        self._worst.add(finding.verdict)
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.suppressed += 1


def verify(
    folder: Path,
    vkeys: Sequence[str],
    origin: str,
    held: Sequence[str] = (),
    required: Collection[Scheme] = (),
    witnesses: Quorum | None = None,
    anchors: Sequence[str] = (),
) -> Report:
    """Judge the bundle in `folder` of the log called `origin` under the given verifier keys.

    Every checkpoint needs the signature of one of them. The newest, whose root commits to all that came before, also needs
    one of each `required` scheme: so a log that is older than its ML-DSA-44 key can meet the demand too.
    `held` are checkpoint notes that the caller kept from elsewhere; only they can show a tail that was cut
    off. With `witnesses`, every record must be under a checkpoint that so many of them have seen. With `anchors`, the
    verifier keys of the log of checkpoints, what that log says of this one is held against it. Raises NoteInvalid for a
    given key or held checkpoint that is itself unusable: a mistake of the caller.
    """
    keys = [note.decode_vkey(text) for text in vkeys]
    if not keys:
        raise NoteInvalid("give at least one verifier key")
    kept = [Kept("your checkpoint", note.open_checkpoint(text, keys, origin)) for text in held]
    others = [note.decode_vkey(text) for text in anchors]
    if len({key.name for key in others}) > 1:
        raise NoteInvalid("give the keys of one log of checkpoints")
    if witnesses is not None:
        witnesses.require_others([*keys, *others])
    report = Report(origin, witnessed=None if witnesses is None else 0)
    try:
        _Verification(folder, keys, report, required, witnesses, others).run(kept)
    except MalformedData as error:
        report.add(Finding(Verdict.MALFORMED, str(error)))
    except OSError as error:
        report.add(Finding(Verdict.MALFORMED, f"a file of the bundle cannot be read: {error}"))
    return report


class _Verification:
    """One run over one bundle: memory grows with checkpoints and requests, not with records or bodies."""

    def __init__(
        self, folder: Path, keys: list[VerifierKey], report: Report, required: Collection[Scheme],
        witnesses: Quorum | None, anchors: list[VerifierKey],
    ) -> None:  # fmt: skip
        self._folder, self._vkeys, self._report = folder, keys, report
        self._required, self._witnesses, self._anchors = required, witnesses, anchors
        self._newest_note = ""
        self._listed = {bundle.MANIFEST}
        self._manifest = Manifest("", "", 0, {})
        self._stories, self._standing, self._absences = Stories(), Standing(), Absences()
        self._disclosed: dict[tuple[str, str], RequestKey | None] = {}
        self._boxes = lru_cache(64)(Box)  # records of one request stand close together
        self._roots: dict[int, bytes] = {}
        self._last_ts = self._undisclosed = self._unknown = 0

    def run(self, given: list[Kept]) -> None:
        report = self._report
        self._manifest = bundle.read_manifest(self._folder)
        self._listed.update(self._manifest.files)
        report.tenant = self._manifest.tenant
        if self._manifest.origin != report.origin:
            report.add(Finding(Verdict.TAMPERED, f"the bundle is of the log {self._manifest.origin!r}"))
        for _ in self._lines(bundle.README, bundle.MAX_MANIFEST_BYTES):
            pass
        if bundle.DERIVED in self._manifest.files:
            for wrong in altered_files(self._folder, self._lines(bundle.DERIVED, MAX_LINE_BYTES), self._listed):
                report.add(Finding(Verdict.MALFORMED, wrong))
        checkpoints = list(self._checkpoints())
        self._require_schemes("the newest checkpoint", self._newest_note, self._vkeys)
        self._read_disclosure()
        held = [*given, *self._anchored()]
        wanted = {0, *(each.size for each in checkpoints), *(each.tree.size for each in held)}
        tree = self._read_records(wanted)
        report.records, report.root = tree.size, tree.root()
        if self._manifest.records != tree.size:
            report.add(Finding(Verdict.MALFORMED, f"the manifest announces {self._manifest.records} records"))
        self._compare(checkpoints)
        self._compare_held(held)
        self._require_witnesses()
        self._conclude(given)

    def _lines(self, name: str, limit: int) -> Iterator[bytes]:
        measured = Measured()
        with bundle.open_file(self._folder, name) as file:
            yield from bundle.read_lines(file, limit, measured)
        if measured.entry() != self._manifest.files[name]:
            self._report.add(Finding(Verdict.MALFORMED, f"{name} is not the file the manifest describes"))

    def _checkpoints(self) -> Iterator[Checkpoint]:
        newest = Checkpoint(self._report.origin, 0, b"")
        for line in self._lines(bundle.CHECKPOINTS, bundle.MAX_NOTE_LINE_BYTES):
            text = bundle.parse_line(line, frozenset({"note"}))["note"]
            if not isinstance(text, str):
                raise MalformedData("a checkpoint line holds no text")
            self._report.checkpoints += 1
            try:
                found = note.open_checkpoint(text, self._vkeys, self._report.origin)
            except NoteInvalid as error:
                self._report.add(Finding(Verdict.TAMPERED, f"checkpoint {self._report.checkpoints}: {error}"))
                continue
            if found.size < newest.size:
                self._report.add(Finding(Verdict.TAMPERED, f"checkpoint {found.size} follows {newest.size}"))
            newest, self._newest_note = found, text
            self._count_witnesses(f"checkpoint {self._report.checkpoints}", text, found)
            yield found

    def _count_witnesses(self, what: str, text: str, found: Checkpoint) -> None:
        """Whether enough have seen the note `text`, by which this log has the tree `found`."""
        if self._witnesses is None or self._report.witnessed is None:
            return
        try:
            seen = self._witnesses.seen(text)
        except NoteInvalid as error:
            self._report.add(Finding(Verdict.TAMPERED, f"{what}: {error}"))
        else:
            if self._witnesses.reached(seen):
                self._report.witnessed = max(self._report.witnessed, found.size)

    def _require_schemes(self, what: str, raw: str, keys: list[VerifierKey]) -> None:
        if self._required and raw:
            try:
                note.open_note(raw, keys, self._required)
            except NoteInvalid as error:
                self._report.add(Finding(Verdict.INCOMPLETE, f"{what}: {error}"))

    def _read_disclosure(self) -> None:
        for line in self._lines(bundle.DISCLOSURE, 4096):
            entry = bundle.parse_line(line, frozenset({"key", "key_id", "scope"}))
            scope, key_id = entry["scope"], entry["key_id"]
            if not isinstance(scope, str) or not isinstance(key_id, str) or (scope, key_id) in self._disclosed:
                raise MalformedData(f"{bundle.DISCLOSURE} repeats or misnames a key")
            key = None if entry["key"] is None else RequestKey(bundle.decode_bytes(entry["key"], 32))
            if key is not None and len(key) != 32:
                raise MalformedData(f"{bundle.DISCLOSURE} holds a key that has not 32 bytes")
            self._disclosed[scope, key_id] = key

    def _read_records(self, wanted: set[int]) -> CompactRange:
        tree, used = CompactRange(), set[tuple[str, str]]()
        self._roots = {0: tree.root()}
        for line in self._lines(bundle.RECORDS, bundle.MAX_LINE_BYTES):
            entry = bundle.parse_line(line, frozenset({"body", "header"}))
            raw = bundle.decode_bytes(entry["header"], MAX_HEADER_BYTES)
            leaf = leaf_hash(raw)
            try:
                header = decode_header(raw)
            except MalformedData as error:
                self._report.add(Finding(Verdict.MALFORMED, f"its header: {error}", tree.size))
            else:
                used.add((str(header.scope), header.key_id))
                self._record(header, leaf, tree.size, entry["body"])
            tree.append(leaf)
            if tree.size in wanted:
                self._roots[tree.size] = tree.root()
        if not set(self._disclosed) <= used:
            self._report.add(Finding(Verdict.MALFORMED, "keys are disclosed for records that are not here"))
        return tree

    def _record(self, header: Header, leaf: LeafHash, position: int, encoded: Json) -> None:
        def found(verdict: Verdict, message: str) -> None:
            self._report.add(Finding(verdict, message, position, header.record, header.kind))

        if header.seq != position:
            found(Verdict.TAMPERED, f"its header says seq {header.seq}: records are missing or moved")
        if header.tenant != self._manifest.tenant:
            found(Verdict.TAMPERED, f"it belongs to tenant {header.tenant!r}")
        if header.ts < self._last_ts:
            found(Verdict.TAMPERED, "its time is before that of the record it follows")
        self._last_ts = max(self._last_ts, header.ts)
        body: Body | None = None
        if encoded is None:
            self._absences.no_body(header)
        else:
            sealed = bundle.decode_bytes(encoded, MAX_SEALED_BYTES)
            if len(sealed) != header.body_length or hashlib.sha256(sealed).digest() != header.body_sha256:
                found(Verdict.TAMPERED, "its body is not the one that the header commits to")
            else:
                body = self._open(header, position, sealed)
        for contradiction in (*self._stories.add(header, body, leaf), *self._standing.add(header, body)):
            found(Verdict.TAMPERED, contradiction)

    def _open(self, header: Header, position: int, sealed: bytes) -> Body | None:
        name = (str(header.scope), header.key_id)
        if name not in self._disclosed:
            self._undisclosed += 1
            return None
        key = self._disclosed[name]
        if key is None:
            self._absences.no_key(header)
            return None
        place = (position, header.record, header.kind)
        try:
            plain = self._boxes(key).unseal(header.tenant, header.record, sealed)
            self._report.decrypted += 1
            if not is_known(header.kind, header.schema):
                self._unknown += 1
                return None
            return decode_body(header.kind, header.schema, plain)
        except SealBroken as error:
            self._report.add(Finding(Verdict.INCOMPLETE, str(error), *place))
        except MalformedData as error:
            self._report.add(Finding(Verdict.MALFORMED, f"its body: {error}", *place))
        return None

    def _compare(self, checkpoints: list[Checkpoint]) -> None:
        report, good = self._report, 0
        for each in sorted(checkpoints, key=lambda checkpoint: checkpoint.size):
            if each.size > report.records:
                missing = f"the checkpoint covers {each.size} records, only {report.records} are here"
                report.add(Finding(Verdict.TAMPERED, missing))
                return
            if self._roots[each.size] != each.root:
                between = f"the headers of seq {good} to {each.size - 1} are not the ones that were signed"
                report.add(Finding(Verdict.TAMPERED, between))
                return
            good = report.covered = each.size
        if good < report.records or not checkpoints:
            text = f"{report.records - good} records from seq {good} on are under no checkpoint"
            report.add(Finding(Verdict.INCOMPLETE, text))

    def _anchored(self) -> Iterator[Kept]:
        """What the log of checkpoints says, once it is proven; what is wrong with the proof is a finding."""
        report, anchors = self._report, self._anchors
        if bundle.ANCHOR not in self._manifest.files:
            if anchors:
                text = "the log of checkpoints says nothing of this log here: ask for a later export"
                report.add(Finding(Verdict.INCOMPLETE, text))
            return
        anchor = read_anchor(b"".join(self._lines(bundle.ANCHOR, MAX_ANCHOR_BYTES)))
        if not anchors:
            report.unchecked.append("the anchor in the log of checkpoints (give --anchor with that log's key)")
            return
        try:
            kept = check_anchor(anchor, anchors, report.origin)
        except (NoteInvalid, ProofInvalid, SealBroken) as error:
            report.add(Finding(Verdict.TAMPERED, f"the anchor: {error}"))
            return
        signed = parse_proof(anchor.proof).note
        self._require_schemes("the anchor", signed, anchors)
        self._count_witnesses("the anchor", signed, kept.tree)
        report.anchored = kept.tree.size
        yield kept

    def _compare_held(self, held: Iterable[Kept]) -> None:
        for each in held:
            if each.tree.size > self._report.records:
                text = (
                    f"{each.whose} covers {each.tree.size} records, the bundle holds {self._report.records}: "
                    "ask for a newer export; if there is none, the tail was cut off"
                )
                self._report.add(Finding(Verdict.INCOMPLETE, text))
            elif self._roots[each.tree.size] != each.tree.root:
                text = f"the log was rewritten: {each.whose} gives its first {each.tree.size} records another root"
                self._report.add(Finding(Verdict.TAMPERED, text))

    def _require_witnesses(self) -> None:
        report, witnesses = self._report, self._witnesses
        if witnesses is not None and report.witnessed is not None and report.witnessed < report.records:
            text = (
                f"{report.records - report.witnessed} records from seq {report.witnessed} on are under no checkpoint that "
                f"{witnesses} have seen: ask for a later export; if there is none, ask why they were not shown this history"
            )
            report.add(Finding(Verdict.INCOMPLETE, text))

    def _conclude(self, held: list[Kept]) -> None:
        report, stories = self._report, self._stories
        report.requests = {ending: stories.total(ending) for ending in Ending}
        for absence in self._absences.explain(self._standing):
            header, verdict = absence.header, Verdict.INCOMPLETE if absence.lawful else Verdict.TAMPERED
            report.add(Finding(verdict, absence.message, header.seq, header.record, header.kind))
        if self._unknown:
            text = f"{self._unknown} records have a kind or schema that this verifier does not know"
            report.add(Finding(Verdict.INCOMPLETE, text))
        said = report.unchecked
        if self._undisclosed:
            said.append(f"the content of {self._undisclosed} undisclosed bodies (their hashes were)")
        if stories.counts_unchecked:
            said.append(f"declared counts of {stories.counts_unchecked} closed requests with unread bodies")
        said += stories.casebook.unchecked()
        if stories.total(Ending.OPEN):
            shown = ", ".join(str(request) for request in stories.open_requests()[:5])
            said.append(f"the end of {stories.total(Ending.OPEN)} requests, open or refused unseen: {shown}")
        if not held:
            forked = ", or another history was signed" if self._witnesses is None else ""
            said.append(f"whether newer records were cut off{forked} (give --checkpoint with one that you kept)")
        if bundle.DERIVED in self._manifest.files:
            said.append("what the derived files say against the records; they, README.txt included, "
                        "are those that the manifest lists, and nobody has signed the manifest")  # fmt: skip
        strange = list(islice(unlisted_files(self._folder, self._listed), MAX_STRANGE + 1))
        if strange:
            many = f"more than {MAX_STRANGE}" if len(strange) > MAX_STRANGE else len(strange)
            said.append(f"{many} files in the folder that nobody listed, such as {strange[0]!r}")
        if self._witnesses is None:
            said.append("whether a witness has seen this history, so that nobody is shown another (give --require-witness)")
        said.append("times of records against any clock outside the log")
        said.append("released text against token ids (needs the tokenizer), and the generation (needs the model)")
