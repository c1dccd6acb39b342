"""CSV of headers and figures for people with spreadsheets. It proves nothing and says so in its name and first line."""

from __future__ import annotations

import csv
import io

from audit.export.derivation import Derivation
from audit.export.figures import COUNTS, WORDS, figures
from audit.export.folder import Folder
from audit.export.opened import Opened
from audit.export.plain import stamp
from audit.records import kind_name

NAME = "records.not-evidence.csv"
WARNING = "Not evidence: a copy for reading. The evidence is records.jsonl, checked with: python -m audit verify"
HEADER_COLUMNS = (
    "seq", "time", "record", "request", "kind", "kind_name", "actor", "policy", "key_id", "body_state", "body_length",
    "body_sha256", "leaf",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}", "\N{FULLWIDTH HYPHEN-MINUS}",
            "\N{FULLWIDTH COMMERCIAL AT}", "\\", "'", '"')  # fmt: skip
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)}


def cell(value: str | int | None) -> str:
    """The text of one cell, which no spreadsheet takes for a formula or for more than one cell.

    Control characters are spelled out, so tab and carriage return cannot lead either; what then starts, after any
    space, like a formula, a quotation or an escape gets an apostrophe in front.
    """
    text = ("" if value is None else str(value)).translate(_CONTROLS)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


class Sheet(Derivation):
    """Writes the file."""

    def __init__(self, folder: Folder) -> None:
        self._file = folder.open(NAME)
        self._line((WARNING,))
        self._line((*HEADER_COLUMNS, *WORDS, *COUNTS))

    def record(self, opened: Opened) -> None:
        header, told = opened.header, figures(opened.body)
        self._line(
            (
                header.seq, stamp(header.ts), str(header.record), None if header.request is None else str(header.request),
                header.kind, kind_name(header.kind), header.actor, None if header.policy is None else header.policy.hex(),
                header.key_id, opened.state.value, header.body_length, header.body_sha256.hex(), opened.leaf.hex(),
                *(told.get(name) for name in (*WORDS, *COUNTS)),
            )
        )  # fmt: skip

    def close(self) -> None:
        self._file.close()

    def _line(self, values: tuple[str | int | None, ...]) -> None:
        line = io.StringIO(newline="")
        csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(map(cell, values))
        self._file.write(line.getvalue().encode())
