"""Exports of a tenant's log: what the audit room writes, from this installation's database and keys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from audit import export as bundle
from audit.errors import ExportRefused
from audit.header import check_tenant
from audit.keys import KeyStore, Signer
from audit.ledger import log_origin
from audit.store import read_tenant
from gateway.settings import DatabaseUrl, Settings


class Disclose(Enum):
    """How much of the content an export lets its reader see."""

    ALL = "all"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Made:
    """An export and what verifies it."""

    folder: Path
    records: int
    origin: str
    vkey: str


def export_log(settings: Settings, reader_url: DatabaseUrl, tenant: str, out: Path, disclose: Disclose) -> Made:
    """Write the bundle into the new or empty folder `out`. Raises AuditError, for a tenant without records too. Blocking."""
    check_tenant(tenant)
    origin = log_origin(settings.origin, tenant)
    store = KeyStore(settings.keys)
    shown = bundle.disclose_all(store) if disclose is Disclose.ALL else bundle.disclose_nothing
    with read_tenant(reader_url, tenant) as reader:
        if reader.size() == 0:
            raise ExportRefused(f"tenant {tenant!r} has no records: see `palimpsest tenants list`")
        done = bundle.export(
            out, origin=origin, tenant=tenant, records=reader.records(), checkpoints=reader.checkpoints(), disclose=shown
        )
    return Made(out, done.records, origin, Signer(settings.keys, origin).vkey)
