"""The judge of a crash: what clients were told, and what earlier crashes left, held against the log as it now stands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psycopg

from audit import note
from audit.header import decode_header, leaf_hash
from audit.ledger import log_origin
from audit.records import Body, Delivery, Kind, RequestClose
from audit.store import read_tenant
from audit.verify import Report, Verdict, verify
from engine.tokenizer import Tokenizer
from tests.audit.writer_samples import TENANT
from tests.faults.clients import Told
from tests.gateway.served import Served
from tests.gateway.tenant_log import text_of

_BATCHES = "SELECT first_seq, n FROM audit.batch WHERE tenant = %s ORDER BY first_seq"


@dataclass(slots=True)
class Memory:
    """What was seen of the log so far, which no later crash may take back: its leaves, its newest signed checkpoint."""

    leaves: list[bytes] = field(default_factory=list)
    note: str | None = None
    abandoned: int = 0
    """How many requests a later process had to end."""


def misheard(served: Served, told: Iterable[Told]) -> Iterator[str]:
    """Every answer that the records do not bear out: a byte too many, or an end that is not on record."""
    words = Tokenizer.load(served.settings.checkpoint)
    for answer in told:
        bodies = served.log.bodies(answer.generation)
        for fault in _answer_faults(answer, bodies, text_of(bodies, words)):
            yield f"generation {answer.generation}: {fault}"


def _answer_faults(answer: Told, bodies: Sequence[Body], explained: str) -> Iterator[str]:
    if not explained.startswith(answer.text):
        yield f"{len(answer.text)} characters were received that {len(explained)} recorded ones do not begin with"
    if not answer.done:
        return
    if answer.account is None or answer.account["records"] != len(bodies):
        yield f"its last event does not announce the {len(bodies)} records that are stored"
    if len(bodies) < 2 or not isinstance(bodies[-1], RequestClose) or not isinstance(bodies[-2], Delivery):
        yield "its client was told of its end, the log was not"
    elif bodies[-2].sha256_released != hashlib.sha256(answer.text.encode()).digest():
        yield "its delivery record is of another text"


def unended(served: Served) -> list[UUID]:
    """Requests of the log that are neither closed nor abandoned."""
    return [item.request for item in served.log.unfinished()]


def disordered(served: Served, memory: Memory) -> Iterator[str]:
    """Gaps, doubles, and records that were there before and are there no more; `memory` learns what is new."""
    with read_tenant(served.database.reader_url, TENANT) as reader:
        raw = list(reader.headers(0, 2**62))
    headers = [decode_header(each) for each in raw]
    leaves = [leaf_hash(each) for each in raw]
    if [header.seq for header in headers] != list(range(len(headers))):
        yield "the sequence numbers have a gap or a double"
    if len({header.record for header in headers}) != len(headers):
        yield "a record is stored twice"
    if leaves[: len(memory.leaves)] != memory.leaves:
        yield f"the first {len(memory.leaves)} records are not those that were there before"
    if not _tiles(served, len(headers)):
        yield "the batches do not cover the log once"
    memory.leaves = [*leaves]
    memory.abandoned = sum(header.kind == Kind.REQUEST_ABANDONED for header in headers)


def _tiles(served: Served, size: int) -> bool:
    """Whether each batch begins where the one before it ended, up to `size` and perhaps a record that came since."""
    end = 0
    with psycopg.connect(served.database.superuser_url) as connection:
        for first, count in connection.execute(_BATCHES, (TENANT,)):
            if first != end:
                return False
            end += count
    return end >= size


def exported(served: Served, out: Path, memory: Memory) -> Report:
    """The offline verifier's word on a disclosed export, held against the checkpoint of the last time, which is replaced."""
    made = served.export(out)
    held = [] if memory.note is None else [memory.note]
    report = verify(made.folder, [made.vkey], made.origin, held)
    with read_tenant(served.database.reader_url, TENANT) as reader:
        memory.note = reader.newest_checkpoint()
    if memory.note is not None:
        note.open_checkpoint(memory.note, [note.decode_vkey(made.vkey)], log_origin(served.settings.origin, TENANT))
    return report


def unproven(report: Report) -> Iterator[str]:
    """Why an export does not pass: anything but verified, or incomplete for stated reasons."""
    if report.verdict is Verdict.INCOMPLETE and report.findings:
        return
    if report.verdict is not Verdict.VERIFIED:
        yield f"the export is {report.verdict.name.lower()}: {'; '.join(map(str, report.findings))}"
