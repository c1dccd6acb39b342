"""Parquet of every intermediate state of shown diffusion blocks, one row per denoising step. Needs pyarrow: the extra `export`.

A record holds the steps of a block as deltas of planes; here each step stands by itself, as `audit.trace` decodes it.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from audit.export.derivation import Derivation
from audit.export.folder import Folder
from audit.export.opened import Opened
from audit.export.parquet import Table
from audit.records import BlockTrace
from audit.trace import decode_steps

NAME = "steps.parquet"
GROUP_POSITIONS = 1 << 16
"""Steps times width that a row group gathers before it is written."""
_MOST_POSITIONS = 1 << 22
"""Of one block: far beyond what an engine makes, and what a hostile record may not exceed."""
SCHEMA = pa.schema(
    [
        ("seq", pa.int64()), ("request", pa.binary(16)), ("block", pa.uint64()), ("start", pa.uint64()),
        ("step", pa.int64()), ("masked", pa.list_(pa.bool_())), ("proposal", pa.list_(pa.uint32())),
        ("confidence", pa.list_(pa.float64())), ("committed", pa.list_(pa.bool_())),
    ]
)  # fmt: skip


class States(Derivation):
    """Writes the file; `masked` is as it was before the step, `confidence` 0 where a token was known."""

    def __init__(self, folder: Folder) -> None:
        self._table = Table(folder, NAME, SCHEMA)
        self._positions = 0

    def record(self, opened: Opened) -> None:
        body = opened.body
        if not isinstance(body, BlockTrace):
            return
        # A step of no width costs a row all the same, and its record not one byte.
        positions = body.steps.steps * max(body.steps.width, 1)
        if positions <= _MOST_POSITIONS:
            self._table.rows += _rows(opened, body)
            self._positions += positions
        if self._positions >= GROUP_POSITIONS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._table.close()

    def _flush(self) -> None:
        self._table.flush()
        self._positions = 0


def _rows(opened: Opened, block: BlockTrace) -> list[dict[str, Any]]:
    header = opened.header
    place = {
        "seq": header.seq, "request": None if header.request is None else header.request.bytes, "block": block.index,
        "start": block.start,
    }  # fmt: skip
    return [
        place | {"step": number, "masked": step.masked, "proposal": step.proposal, "confidence": step.confidence,
                 "committed": step.committed}
        for number, step in enumerate(decode_steps(block))
    ]  # fmt: skip
