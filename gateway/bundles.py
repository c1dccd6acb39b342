"""Exports of a tenant's log: what the audit room writes, from this installation's database, keys, policies and model."""

# ruff: noqa: PLC0415 - the tokenizer, and with it torch, is loaded only for what shows text

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

import policies
from audit import export as bundle
from audit.acts import PolicyChange
from audit.cosigning import CosignedNotes
from audit.errors import ExportRefused, MalformedData
from audit.export import Attester, Disclosure, Extras, Format, Reach, Spell, Speller, acts_concerning
from audit.export.disclosure import Answers
from audit.export.opened import open_record
from audit.header import Header, check_tenant, decode_header
from audit.kept_anchors import KeptAnchors
from audit.keys import KeyStore
from audit.ledger import log_origin
from audit.note import split_note, tree_of
from audit.records import Kind
from audit.signer import Signer
from audit.store import Reader, read_tenant
from gateway.settings import DatabaseUrl, Settings
from gateway.witnesses import named_witnesses

Watch: TypeAlias = Callable[[int, int], None]
"""Told how many records are written, and of how many."""


class Disclose(Enum):
    """How much of the content an export lets its reader see, unless it names the requests."""

    ALL = "all"
    NOTHING = "nothing"


class Tail(Enum):
    """Where an export ends: at the last record, or the last that a checkpoint covers, or one that witnesses have seen."""

    RECORDED = "recorded"
    SIGNED = "signed"
    WITNESSED = "witnessed"


@dataclass(frozen=True, slots=True)
class Made:
    """An export and what verifies it: the keys that sign now, Ed25519 first, and those that signed before them.

    `contradicted` is the size of the first checkpoint that the records contradict.
    """

    folder: Path
    records: int
    origin: str
    vkeys: tuple[str, ...]
    former: tuple[str, ...] = ()
    derived: int = 0
    contradicted: int | None = None

    @property
    def vkey(self) -> str:
        """The Ed25519 key that signs now."""
        return self.vkeys[0]


def export_log(
    settings: Settings,
    reader_url: DatabaseUrl,
    tenant: str,
    out: Path,
    disclose: Disclose | frozenset[UUID],
    formats: frozenset[Format] = frozenset(),
    watch: Watch | None = None,
    tail: Tail = Tail.RECORDED,
) -> Made:
    """Write the bundle into the new or empty folder `out`; named requests are shown with the acts that concern them.

    Raises AuditError, for a tenant without records and a request that is not there too. Blocking.
    """
    check_tenant(tenant)
    origin = log_origin(settings.origin, tenant)
    store = KeyStore(settings.keys)
    seen = cosigned_notes(settings).newest(origin)  # before the snapshot, which has its tree therefore
    anchor = KeptAnchors(settings.keys).newest(origin)  # so too
    with read_tenant(reader_url, tenant) as reader:
        seen = seen if seen is not None and _is_of(reader, seen) else None
        size = _end(reader, tenant, tail, seen)
        if anchor is not None and tail is Tail.WITNESSED and anchor.size > size:
            anchor = None
        # Up to the last record all are there, those too that contradict it.
        notes = reader.checkpoints(size if tail is Tail.WITNESSED else None)
        signer = Signer(settings.keys, origin)
        shown = _shown(reader, store, disclose)
        done = bundle.export(
            out, origin=origin, tenant=tenant, records=reader.records(0, size - 1), checkpoints=_cosigned(notes, seen),
            disclose=shown, anchor=None if anchor is None else anchor.line,
            extras=_extras(settings, origin, formats, _policies(reader, shown)),
            progress=None if watch is None else lambda written: watch(written, size),
        )  # fmt: skip
    return Made(out, done.records, origin, signer.vkeys, signer.former, done.derived, done.contradicted)


def cosigned_notes(settings: Settings) -> CosignedNotes:
    """What the witnesses of these settings have cosigned. Raises SettingsError."""
    return CosignedNotes(settings.keys, named_witnesses(settings.witnesses))


def require_log(reader_url: DatabaseUrl, tenant: str, requests: frozenset[UUID] = frozenset()) -> int:
    """How many records the tenant's log has.

    Raises ExportRefused for none and for a request that is not among them, InvalidRecord for a name that is none.
    """
    check_tenant(tenant)
    with read_tenant(reader_url, tenant) as reader:
        for _ in _headers_of(reader, requests):
            pass
        return _size(reader, tenant)


def _shown(reader: Reader, store: KeyStore, disclose: Disclose | frozenset[UUID]) -> Disclosure:
    match disclose:
        case Disclose.ALL:
            return bundle.disclose_all(store)
        case Disclose.NOTHING:
            return bundle.disclose_nothing
        case _:
            named = chain(reader.approvals([Kind.DELEGATION]), reader.acts())
            acts = acts_concerning(Reach.of(_headers_of(reader, disclose)), named, store)
            return bundle.disclose_requests(store, disclose | acts)


def _headers_of(reader: Reader, requests: frozenset[UUID]) -> Iterator[Header]:
    for request in requests:
        found = list(map(decode_header, reader.request_headers(request)))
        if not found:
            raise ExportRefused(f"request {request} is not in this tenant's log")
        yield from found


def _end(reader: Reader, tenant: str, tail: Tail, seen: str | None) -> int:
    """How many records an export has that ends there; `seen` is the newest note that witnesses have signed."""
    if tail is Tail.RECORDED:
        return _size(reader, tenant)
    note = seen if tail is Tail.WITNESSED and seen is not None else reader.newest_checkpoint()
    if note is None:
        raise ExportRefused(f"the log of {tenant!r} has no checkpoint yet: try again in a moment")
    return tree_of(note).size


def _is_of(reader: Reader, seen: str) -> bool:
    """Whether the log has the tree of that note: where an old backup was restored witnesses have seen what is lost."""
    size = tree_of(seen).size
    return any(tree_of(each) == tree_of(seen) for each in reader.checkpoints(size, size))


def _cosigned(notes: Iterable[str], seen: str | None) -> Iterator[str]:
    """The notes, in place of that of the same tree the one that witnesses have signed."""
    tree = None if seen is None else split_note(seen).text
    return (seen if seen is not None and each.startswith(f"{tree}\n") else each for each in notes)


def _size(reader: Reader, tenant: str) -> int:
    size = reader.size()
    if size == 0:
        raise ExportRefused(f"tenant {tenant!r} has no records: see `palimpsest tenants list`")
    return size


def _extras(settings: Settings, origin: str, formats: frozenset[Format], laws: Mapping[bytes, bytes]) -> Extras:
    return Extras(
        formats=formats,
        policies=laws,
        attester=Attester.of_log(settings.keys, origin) if Format.IN_TOTO in formats else None,
        speller=_speller(settings.checkpoint) if Format.HTML in formats else None,
    )


def _policies(reader: Reader, shown: Disclosure) -> dict[bytes, bytes]:
    """The policy that ships and all that disclosed records put in force or on trial, resolved: texts by their SHA-256."""
    shipped = policies.load(policies.BASELINE)
    found = {bytes(shipped.digest): policies.written(shipped).encode()}
    answers = Answers(shown)
    for stored in reader.acts(kinds=[Kind.POLICY_CHANGE]):
        with suppress(MalformedData):  # an export judges nothing; the verifier names what is damaged
            body = open_record(decode_header(stored.header), b"", stored.body, answers).body
            if isinstance(body, PolicyChange):
                found[body.after] = body.document.encode()
    return found


def _speller(checkpoint: Path) -> Speller:
    """Spells the ids of the model that is configured here; another model's ids stay numbers."""
    from engine.model.checkpoint import digest
    from engine.tokenizer import Tokenizer

    tokenizer, weights = Tokenizer.load(checkpoint), bytes.fromhex(digest(checkpoint))

    def spell(asked: bytes) -> Spell | None:
        return tokenizer.decode if asked == weights else None

    return spell
