"""Exports that wait to be downloaded: one archive each, with a note of what it is, in `exports/` beside the other state.

What discloses content outlives neither an erasure nor a retirement: such an archive goes with the content, whoever ended it.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from audit.durable import locked, make_folder, taken, write_durably
from audit.export import Format
from audit.header import check_tenant
from audit.standing import Standing
from gateway.bundles import Disclose, export_log
from gateway.jobs import Watch
from gateway.log_health import await_witnesses
from gateway.settings import DatabaseUrl, Settings

if TYPE_CHECKING:
    from gateway.cli.identity import Office
    from gateway.house import House

KEPT_SECONDS: Final = 7 * 86_400
NOTHING: Final = "nothing"
ARCHIVE: Final = ".tar.gz"
PART: Final = ".part"


class Parcel(msgspec.Struct, frozen=True):
    """One finished export. `size` is how many records the log had when it was asked for; times in seconds."""

    id: UUID
    tenant: str
    by: str
    reason: str
    disclosed: str
    requests: int
    formats: tuple[str, ...]
    size: int
    records: int
    made_at: int
    bytes: int
    origin: str
    vkeys: tuple[str, ...]
    contradicted: int | None = None

    @property
    def microseconds(self) -> int:
        """When it was made, as records count."""
        return self.made_at * 1_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """An export that is on record and is to be made."""

    id: UUID
    tenant: str
    by: str
    reason: str
    disclose: Disclose | frozenset[UUID]
    disclosed: str
    formats: frozenset[Format]
    size: int


@dataclass(frozen=True, slots=True)
class ExportShelf:
    """The archives of one installation. Blocking."""

    folder: Path
    settings: Settings
    reader_url: DatabaseUrl

    @classmethod
    def of(cls, house: House | Office) -> ExportShelf:
        """The shelf of this house, or of the one that a command works beside."""
        return cls(house.settings.home / "exports", house.settings, house.urls.reader)

    def make(self, wanted: Wanted, watch: Watch) -> Parcel:
        """Write the export and its archive. Raises what `export_log` raises; then nothing is left.

        The note comes before the archive, so that a process that dies leaves no archive that nobody would find.
        """
        place = self._place(wanted.tenant)
        with _working(place, wanted.id) as part:
            out = part / f"palimpsest-{wanted.tenant}-{wanted.size}"
            own = wanted.size + 1  # its own record is among them
            tail = await_witnesses(self.settings, self.reader_url, wanted.tenant, own)
            made = export_log(self.settings, self.reader_url, wanted.tenant, out, wanted.disclose, wanted.formats, watch, tail)
            packed = part / "archive"
            with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
                archive.add(out, out.name)
            parcel = Parcel(
                id=wanted.id, tenant=wanted.tenant, by=wanted.by, reason=wanted.reason, disclosed=wanted.disclosed,
                requests=len(wanted.disclose) if isinstance(wanted.disclose, frozenset) else 0,
                formats=tuple(sorted(wanted.formats)), size=wanted.size, records=made.records, made_at=int(time.time()),
                bytes=packed.stat().st_size, origin=made.origin, vkeys=(*made.vkeys, *made.former),
                contradicted=made.contradicted,
            )  # fmt: skip
            write_durably(place / f"{wanted.id}.json", msgspec.json.encode(parcel))
            packed.replace(self._archive(wanted.tenant, wanted.id))
        return parcel

    def parcels(self, tenant: str, standing: Standing) -> list[Parcel]:
        """What lies here for the tenant, newest first; what may not lie here any longer is removed first."""
        found = self._notes(tenant)
        ended = max((*standing.erased.values(), *(each.seq for each in standing.retired)), default=-1)
        kept = []
        for parcel in found:
            stale = parcel.disclosed != NOTHING and parcel.size <= ended
            if stale or _is_old(parcel):
                self._drop(parcel)
            else:
                kept.append(parcel)
        return sorted(kept, key=lambda parcel: parcel.made_at, reverse=True)

    def drop_disclosed(self, tenant: str) -> None:
        """Remove every archive of the tenant that shows content: some of that content is to be nowhere."""
        for parcel in self._notes(tenant):
            if parcel.disclosed != NOTHING:
                self._drop(parcel)

    def drop_old(self) -> None:
        """Remove what has lain here for its time, of every tenant, and what makers left that are no more."""
        for place in self.folder.glob("of-*"):
            for parcel in self._notes(place.name.removeprefix("of-")):
                if _is_old(parcel):
                    self._drop(parcel)

    def archive(self, parcel: Parcel) -> Path:
        """Where its bytes are."""
        return self._archive(parcel.tenant, parcel.id)

    def _notes(self, tenant: str) -> list[Parcel]:
        """Every archive that is whole, once what died half made is gone."""
        place = self._place(tenant)
        _sweep(place)
        notes = (path for path in place.glob("*.json") if path.with_suffix(ARCHIVE).exists())
        return [msgspec.json.decode(path.read_bytes(), type=Parcel) for path in notes]

    def _place(self, tenant: str) -> Path:
        check_tenant(tenant)
        place = self.folder / f"of-{tenant}"
        make_folder(place)
        return place

    def _archive(self, tenant: str, parcel: UUID) -> Path:
        return self._place(tenant) / f"{parcel}{ARCHIVE}"

    def _drop(self, parcel: Parcel) -> None:
        self._archive(parcel.tenant, parcel.id).unlink(missing_ok=True)
        (self._place(parcel.tenant) / f"{parcel.id}.json").unlink(missing_ok=True)


def _is_old(parcel: Parcel) -> bool:
    return parcel.made_at < time.time() - KEPT_SECONDS


@contextmanager
def _working(place: Path, parcel: UUID) -> Iterator[Path]:
    """A folder for one export in the making, locked as long as its maker lives; it is gone afterwards."""
    part = place / f"{parcel}{PART}"
    with locked(place):
        make_folder(part)
        handle = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
        taken(handle)  # nobody looks at it before the lock of the place is free again
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(handle)


def _sweep(place: Path) -> None:
    """Remove what makers left that are no more: folders, archives without a note, and notes without an archive."""
    with locked(place):
        for part in place.glob(f"*{PART}"):
            if not _in_the_making(part):
                shutil.rmtree(part, ignore_errors=True)
        for lone, other in ((ARCHIVE, ".json"), (".json", ARCHIVE)):
            for path in place.glob(f"*{lone}"):
                name = path.name.removesuffix(lone)
                if not (place / f"{name}{other}").exists() and not (place / f"{name}{PART}").exists():
                    path.unlink(missing_ok=True)


def _in_the_making(part: Path) -> bool:
    try:
        handle = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True  # its maker has just ended it
    try:
        return not taken(handle)
    finally:
        os.close(handle)
