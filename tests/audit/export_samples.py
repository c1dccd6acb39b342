"""Logs and bundles for tests of exports: every format at once, and a log of any length."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit import bundle
from audit.export import Attester, Exported, Extras, Format, Progress, disclose_all, export
from audit.header import StoredRecord, uuid7
from audit.note import Checkpoint, sign_checkpoint
from audit.records import Body, Kind
from audit.verify import Report, verify
from tests.audit.samples import ORIGIN, SAMPLES, START, TENANT, Log

ALL = frozenset(Format)


def altered(body: Body, **fields: Any) -> Any:
    """A body with some of its fields replaced."""
    whole: Any = body
    return replace(whole, **fields)


def attester(log: Log) -> Attester:
    """The attester of a sample log."""
    return Attester.of_log(log.folder, ORIGIN)


def bundle_of(
    log: Log,
    out: Path,
    formats: frozenset[Format] = ALL,
    records: Iterable[StoredRecord] | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Exported:
    """The bundle of a log with everything disclosed, in every format unless told otherwise; `changes` are of the extras."""
    wanted = replace(Extras(formats=formats, attester=attester(log)), **changes)
    return export(
        out, origin=ORIGIN, tenant=TENANT, records=log.rows if records is None else records, checkpoints=log.notes,
        disclose=disclose_all(log.keys), extras=wanted, progress=progress,
    )  # fmt: skip


def judged(log: Log, out: Path) -> Report:
    """The verifier's report on a bundle of a sample log."""
    return verify(out, [log.signer.vkey], ORIGIN)


def with_bodies(folder: Path, changes: dict[Kind, Body], note: bool = True) -> Log:
    """A log of one closed request some of whose bodies are others, under a checkpoint or under none."""
    log = Log(folder)
    log.add(uuid7(START), [changes.get(Kind(number), SAMPLES[Kind(number)]) for number in range(1, 11)])
    if note:
        log.checkpoint()
    return log


def long_log(folder: Path, requests: int, runs: int) -> Log:
    """A log of `requests` closed requests of five records and `runs` causal runs each, a checkpoint after each."""
    log = Log(folder)
    first, last = (Kind.REQUEST_OPEN, Kind.PROMPT_BODY, Kind.POLICY_DECISION), (Kind.DELIVERY, Kind.REQUEST_CLOSE)
    bodies: Sequence[Body] = [SAMPLES[kind] for kind in (*first, *(Kind.DECODE_RUN for _ in range(runs)), *last)]
    for _ in range(requests):
        log.add(uuid7(START), bodies)
        log.notes.append(sign_checkpoint(Checkpoint(ORIGIN, log.tree.size, log.tree.root()), *log.signer._keys))
    return log


def rows_of(out: Path) -> list[StoredRecord]:
    """The records of a bundle, read back from its evidence."""
    read = bundle.decode_bytes
    lines = (json.loads(line) for line in (out / bundle.RECORDS).read_bytes().splitlines())
    return [StoredRecord(read(line["header"], 4096), read(line["body"], 1 << 20)) for line in lines]
