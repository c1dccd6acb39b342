"""From the names of formats to what writes them. A library that an extra brings is imported only when it is asked for."""

# ruff: noqa: PLC0415 - each format's library waits until the format is wanted

from __future__ import annotations

from collections.abc import Iterator

from audit.errors import ExportRefused
from audit.export.attestation import Attestations
from audit.export.derivation import Derivation, Extras, Format
from audit.export.folder import Folder
from audit.export.provenance import Provenance
from audit.export.report import Reports
from audit.export.sheet import Sheet
from audit.export.siem import Cef, Ocsf


def require(extras: Extras) -> None:
    """Raise ExportRefused, before anything is written, when a format lacks a library or a key."""
    if Format.PARQUET in extras.formats:
        try:
            import pyarrow as pa  # noqa: F401 - whether it is here
        except ImportError as error:
            raise ExportRefused("parquet needs pyarrow: pip install 'palimpsest[export]'; all else works without") from error
    if Format.IN_TOTO in extras.formats and extras.attester is None:
        raise ExportRefused("in-toto statements are signed: give the log's attester, or leave the format out")


def derivations(extras: Extras, folder: Folder, origin: str) -> Iterator[Derivation]:
    """What writes the wanted formats, in the order of their names' declaration; JSON lines are the bundle itself."""
    for wanted in Format:
        if wanted in extras.formats:
            yield from _make(wanted, extras, folder, origin)


def _make(wanted: Format, extras: Extras, folder: Folder, origin: str) -> Iterator[Derivation]:
    match wanted:
        case Format.PARQUET:
            from audit.export.columns import Columns
            from audit.export.states import States

            yield Columns(folder)
            yield States(folder)
        case Format.CSV:
            yield Sheet(folder)
        case Format.PROV:
            yield Provenance(folder)
        case Format.IN_TOTO if extras.attester is not None:
            yield Attestations(folder, extras.attester)
        case Format.OCSF:
            yield Ocsf(folder)
        case Format.CEF:
            yield Cef(folder)
        case Format.HTML:
            yield Reports(folder, origin, extras.speller)
