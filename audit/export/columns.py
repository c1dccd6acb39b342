"""Parquet of headers, figures and shown bodies, in bounded row groups. Needs pyarrow: the extra `export`."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from audit.export.derivation import Derivation
from audit.export.figures import COUNTS, WORDS, figures
from audit.export.folder import Folder
from audit.export.opened import Opened
from audit.export.parquet import Table
from audit.export.plain import plain
from audit.records import BlockTrace, Body, DecodeRun, SpecRounds, kind_name

NAME = "records.parquet"
GROUP_ROWS = 4096
_GROUP_BYTES = 4 << 20
"""Of body text: a row group is closed early when its bodies are long."""
_DIGEST = pa.binary(32)
SCHEMA = pa.schema(
    [
        ("tenant", pa.string()), ("seq", pa.int64()), ("ts", pa.timestamp("us", tz="UTC")), ("record", pa.binary(16)),
        ("request", pa.binary(16)), ("kind", pa.int64()), ("kind_name", pa.string()), ("schema", pa.int64()),
        ("actor", pa.string()), ("policy", _DIGEST), ("key_id", pa.string()), ("body_length", pa.int64()),
        ("body_sha256", _DIGEST), ("leaf", _DIGEST), ("body_state", pa.string()),
        *((name, pa.string()) for name in WORDS), *((name, pa.uint64()) for name in COUNTS),
        ("output", pa.list_(pa.uint32())), ("body", pa.string()),
    ]
)  # fmt: skip


class Columns(Derivation):
    """Writes the file, one row per record; `body` is the JSON of the whole body, `output` its ids of the answer."""

    def __init__(self, folder: Folder) -> None:
        self._table = Table(folder, NAME, SCHEMA)
        self._bytes = 0

    def record(self, opened: Opened) -> None:
        row = _row(opened)
        self._table.rows.append(row)
        self._bytes += len(row["body"] or "")
        if len(self._table.rows) == GROUP_ROWS or self._bytes > _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._table.close()

    def _flush(self) -> None:
        self._table.flush(GROUP_ROWS)
        self._bytes = 0


def _row(opened: Opened) -> dict[str, Any]:
    header, body = opened.header, opened.body
    return {
        "tenant": header.tenant, "seq": header.seq, "ts": header.ts, "record": header.record.bytes,
        "request": None if header.request is None else header.request.bytes, "kind": header.kind,
        "kind_name": kind_name(header.kind), "schema": header.schema, "actor": header.actor, "policy": header.policy,
        "key_id": header.key_id, "body_length": header.body_length, "body_sha256": header.body_sha256, "leaf": opened.leaf,
        "body_state": opened.state.value, "output": _output(body),
        "body": None if body is None else json.dumps(plain(body), sort_keys=True, allow_nan=False),
        **figures(body),
    }  # fmt: skip


def _output(body: Body | None) -> list[int] | None:
    match body:
        case BlockTrace() | DecodeRun():
            return list(body.output)
        case SpecRounds():
            return [token for each in body.rounds for token in each.output]
        case _:
            return None
