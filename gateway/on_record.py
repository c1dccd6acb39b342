"""What a person does to a log at the command line is on record in it before it is done; a change of the schema right after it.

A log that no longer takes records, because the database contradicts what was signed, must still be exportable: then the act
stands in the log of tenant `system`. If that cannot take it either, the act does not happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from audit.acts import Access, Act, Export, SchemaChange
from audit.errors import AuditError, KeyUnavailable, NoteInvalid
from audit.header import decode_header
from audit.keys import KeyStore
from audit.ledger import LogRolledBack, log_origin
from audit.lifecycle import read_standing
from audit.merkle import CompactRange
from audit.note import decode_vkey, open_note
from audit.signer import ED25519_FILE, Signer, signer_folder
from audit.store import Reader, read_tenant
from audit.writer import SYSTEM, Entry, Writer, WriterConfig
from gateway.account import account
from gateway.settings import Settings
from migrations.run import Migrated

if TYPE_CHECKING:
    from gateway.database import Urls
    from gateway.people.person import Actor


def put_on_record(settings: Settings, urls: Urls, tenant: str, act: Act) -> str:
    """Commit and sign one act; the tenant in whose log it stands. Raises AuditError when no log takes it. Blocking."""
    try:
        asyncio.run(_append(settings, urls, tenant, act))
        place = tenant
    except LogRolledBack:
        asyncio.run(_append(settings, urls, SYSTEM, act))
        place = SYSTEM
    if isinstance(act, Access | Export):
        _forget_erased(settings, urls, tenant)
    return place


def _forget_erased(settings: Settings, urls: Urls, tenant: str) -> None:
    """Destroy what the log says is erased, as every start does: whoever reads next may stand on an old copy of the keys."""
    store = KeyStore(settings.keys)
    with suppress(AuditError):  # a log whose acts cannot be read is exported as it is
        store.destroy(read_standing(urls.reader, tenant, store).erased)


def record_access(settings: Settings, urls: Urls, tenant: str, request: UUID, reason: str, by: Actor) -> None:
    """Commit that somebody is about to read the content of one request; nothing for a request that is not there. Blocking."""
    with read_tenant(urls.reader, tenant) as reader:
        seqs = [decode_header(raw).seq for raw in reader.request_headers(request)]
    if seqs:
        put_on_record(settings, urls, tenant, Access(request, seqs[0], seqs[-1], reason, by.on_record))


def record_migration(settings: Settings, urls: Urls, done: Migrated) -> None:
    """Commit, in the log of `system`, that the schema under the logs is another. Raises AuditError. Blocking."""
    before, after = bytes.fromhex(done.before), bytes.fromhex(done.after)
    act = SchemaChange(done.revision, before, after, f"{account()} as {done.login}")
    put_on_record(settings, urls, SYSTEM, act)


async def _append(settings: Settings, urls: Urls, tenant: str, act: Act) -> None:
    async with writing(settings, urls, tenant) as writer:
        await writer.append([Entry(tenant, None, act.requested_by, None, act)])


@asynccontextmanager
async def writing(settings: Settings, urls: Urls, tenant: str) -> AsyncIterator[Writer]:
    """A writer for one tenant's log, beside a gateway that may be running; what it wrote is signed at the end.

    Raises KeyUnavailable for a keys folder that is not the gateway's.
    """
    await asyncio.to_thread(require_keys, settings, urls, tenant)
    writer = Writer(writer_config(settings, urls))
    await writer.start([tenant])
    try:
        yield writer
    finally:
        await writer.close()


def require_keys(settings: Settings, urls: Urls, *tenants: str) -> None:
    """Raises KeyUnavailable where a log has records and the keys folder never signed it: new keys would contradict the old.

    Nor may a tenant's first record come from such a folder, so it is asked of tenant `system` as well. Blocking.
    """
    ours = False
    for log in dict.fromkeys((SYSTEM, *tenants)):
        folder = signer_folder(settings.keys, log_origin(settings.origin, log))
        if folder.is_dir() and (ours or not (folder / ED25519_FILE).exists()):
            continue
        with read_tenant(urls.reader, log) as reader:
            if folder.is_dir():
                ours = _has_signed(Signer(settings.keys, log_origin(settings.origin, log)), reader, folder)
            elif reader.size():
                raise KeyUnavailable(
                    f"{folder} is not there, and its log has records: set PALIMPSEST_KEYS (or PALIMPSEST_HOME) and "
                    "PALIMPSEST_ORIGIN as they were, mount that folder, or restore it from its backup. If its keys are lost "
                    "for good, make it, empty: the log goes on under new keys then, which verifiers have to be given"
                )


def _has_signed(signer: Signer, reader: Reader, folder: Path) -> bool:
    """Whether these keys signed this log; False if neither has been signed. Raises KeyUnavailable for those of another log."""
    newest = reader.newest_checkpoint()
    if newest is None or not signer.size:
        return False
    with suppress(NoteInvalid):
        open_note(newest, [decode_vkey(vkey) for vkey in (*signer.vkeys, *signer.former)])
        return True
    tree = CompactRange()  # keys that were made anew, or taken from a backup, may have signed what is not stored
    tree.extend([each.leaf for each in reader.leaves(0, signer.size)])
    if (tree.size, tree.root()) == (signer.size, signer.root):
        return True
    raise KeyUnavailable(
        f"the keys in {folder} are those of another log of this name: they signed neither its newest checkpoint nor any of its "
        "records. Set PALIMPSEST_KEYS (or PALIMPSEST_HOME) and the database as they were"
    )


def writer_config(settings: Settings, urls: Urls) -> WriterConfig:
    """Where this installation's log is and how much may wait for it."""
    return WriterConfig(
        app_url=urls.app,
        reader_url=urls.reader,
        keys=settings.keys,
        origin=settings.origin,
        stall_seconds=settings.audit_stall_seconds,
        queue_records=settings.queue_records,
        queue_bytes=settings.queue_bytes,
    )
