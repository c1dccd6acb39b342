"""Exports that wait to be downloaded: one archive each, with a note of what it is, in `exports/` beside the other state.

What discloses content outlives neither an erasure nor a retirement: such an archive goes with the content, whoever ended it.
"""

from __future__ import annotations

import shutil
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from audit.durable import make_folder, write_durably
from audit.export import Format
from audit.header import check_tenant
from audit.standing import Standing
from gateway.bundles import Disclose, Tail, export_log
from gateway.house import House
from gateway.jobs import Watch
from gateway.log_health import await_checkpoint
from gateway.settings import DatabaseUrl, Settings

KEPT_SECONDS: Final = 7 * 86_400
NOTHING: Final = "nothing"


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
    def of(cls, house: House) -> ExportShelf:
        """The shelf of this house."""
        return cls(house.settings.home / "exports", house.settings, house.urls.reader)

    def make(self, wanted: Wanted, watch: Watch) -> Parcel:
        """Write the export and its archive. Raises what `export_log` raises; then nothing is left."""
        place = self._place(wanted.tenant)
        out = place / f"{wanted.id}.part" / f"palimpsest-{wanted.tenant}-{wanted.size}"
        try:
            make_folder(out.parent)
            await_checkpoint(self.reader_url, wanted.tenant, wanted.size + 1)  # its own record is among them
            made = export_log(
                self.settings, self.reader_url, wanted.tenant, out, wanted.disclose, wanted.formats, watch, Tail.SIGNED
            )
            with tarfile.open(out.parent / "archive", "w:gz", compresslevel=1) as archive:
                archive.add(out, out.name)
            (out.parent / "archive").replace(self._archive(wanted.tenant, wanted.id))
        finally:
            shutil.rmtree(out.parent, ignore_errors=True)
        parcel = Parcel(
            id=wanted.id, tenant=wanted.tenant, by=wanted.by, reason=wanted.reason, disclosed=wanted.disclosed,
            requests=len(wanted.disclose) if isinstance(wanted.disclose, frozenset) else 0,
            formats=tuple(sorted(wanted.formats)), size=wanted.size, records=made.records, made_at=int(time.time()),
            bytes=self._archive(wanted.tenant, wanted.id).stat().st_size, origin=made.origin,
            vkeys=(*made.vkeys, *made.former), contradicted=made.contradicted,
        )  # fmt: skip
        write_durably(place / f"{wanted.id}.json", msgspec.json.encode(parcel))
        return parcel

    def parcels(self, tenant: str, standing: Standing) -> list[Parcel]:
        """What lies here for the tenant, newest first; what may not lie here any longer is removed first."""
        found = [msgspec.json.decode(path.read_bytes(), type=Parcel) for path in self._place(tenant).glob("*.json")]
        ended = max((*standing.erased.values(), *(each.seq for each in standing.retired)), default=-1)
        kept = []
        for parcel in found:
            stale = parcel.disclosed != NOTHING and parcel.size <= ended
            if stale or parcel.made_at < time.time() - KEPT_SECONDS:
                self._drop(parcel)
            else:
                kept.append(parcel)
        return sorted(kept, key=lambda parcel: parcel.made_at, reverse=True)

    def drop_disclosed(self, tenant: str) -> None:
        """Remove every archive of the tenant that shows content: some of that content is to be nowhere."""
        for path in self._place(tenant).glob("*.json"):
            parcel = msgspec.json.decode(path.read_bytes(), type=Parcel)
            if parcel.disclosed != NOTHING:
                self._drop(parcel)

    def archive(self, parcel: Parcel) -> Path:
        """Where its bytes are."""
        return self._archive(parcel.tenant, parcel.id)

    def _place(self, tenant: str) -> Path:
        check_tenant(tenant)
        place = self.folder / f"of-{tenant}"
        make_folder(place)
        return place

    def _archive(self, tenant: str, parcel: UUID) -> Path:
        return self._place(tenant) / f"{parcel}.tar.gz"

    def _drop(self, parcel: Parcel) -> None:
        self._archive(parcel.tenant, parcel.id).unlink(missing_ok=True)
        (self._place(parcel.tenant) / f"{parcel.id}.json").unlink(missing_ok=True)
