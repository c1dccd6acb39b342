"""A Parquet file that is written group by group. Needs pyarrow: the extra `export`."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.export.folder import Folder

NO_EVIDENCE = {"palimpsest": "derived/1, not evidence: records.jsonl is"}
"""The metadata of every such file."""


class Table:
    """One file; `rows` are those that no group holds yet, and their writer decides when they make one."""

    def __init__(self, folder: Folder, name: str, schema: pa.Schema) -> None:
        self._file = folder.open(name)
        self._schema = schema.with_metadata(NO_EVIDENCE)
        self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")
        self.rows: list[dict[str, Any]] = []

    def flush(self, group_rows: int | None = None) -> None:
        """Write the waiting rows, in groups of at most `group_rows`."""
        if self.rows:
            self._writer.write_table(pa.Table.from_pylist(self.rows, self._schema), row_group_size=group_rows)
        self.rows = []

    def close(self) -> None:
        """End the file; every row has been flushed."""
        self._writer.close()
        self._file.close()
