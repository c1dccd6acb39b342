"""A portion of one log into the tables: records that are read, folded and written in the transaction that moves the cursor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from audit.acts import Access, Erasure, Retirement
from audit.errors import MalformedData
from audit.header import Header, StoredRecord, decode_header
from audit.held import CASE_KINDS
from audit.records import Body, Kind
from audit.store import Reader
from gateway.projections import days
from gateway.projections.cases import Record, case_row
from gateway.projections.folding import COLUMNS, HEADED, Means, Stage, Told, begun, told
from gateway.projections.tables import ApprovalRow, Attachment, GenerationRow, LookRow
from gateway.projections.unsealing import Unsealer

KINDS: Final = frozenset(
    (
        Kind.REQUEST_OPEN, Kind.POLICY_DECISION, Kind.DELIVERY, Kind.REQUEST_CLOSE, Kind.REQUEST_ABANDONED,
        Kind.RELEASE_DECISION, Kind.ATTACHED, Kind.ACCESS, Kind.ERASURE, Kind.RETIREMENT, *CASE_KINDS,
    )
)  # fmt: skip
"""The records that tables are made of: figures, names and states, never a prompt, and of an answer nothing but its digest."""
_BLANK: Final = {field.name: field.default for field in fields(Told) if field.name not in HEADED} | {
    "erased": True,
    "state": Stage.ERASED,
}


class Portion:
    """Takes records of one tenant in order of seq; `stop` is where the portion ends."""

    def __init__(self, connection: Connection, reader: Reader, unsealer: Unsealer, means: Means, stop: int) -> None:
        self._connection, self._reader, self._unsealer, self._means, self._stop = connection, reader, unsealer, means, stop

    def take(self, tenant: str, records: Iterable[StoredRecord]) -> None:
        """Bring the tables from before these records to after them."""
        waiting: list[Record] = []
        for header, body in map(self._read, records):
            if header.request is not None:
                waiting.append((header, body))
                continue
            if isinstance(body, Access):
                self._see(tenant, body)
                continue
            self._fold(waiting)
            waiting = []
            self._act(tenant, header, body)
        self._fold(waiting)

    def _read(self, stored: StoredRecord) -> tuple[Header, Body | None]:
        header = decode_header(stored.header)
        return header, self._unsealer.body(header, stored.body)

    def _see(self, tenant: str, access: Access) -> None:
        """Who has read how far; of a request that is erased later nothing of it stays."""
        if access.request is not None:
            row = {"generation": access.request, "person": access.requested_by, "last_seq": access.last, "tenant": tenant}
            self._connection.execute(insert(LookRow).values(row).on_conflict_do_nothing())

    def _act(self, tenant: str, header: Header, body: Body | None) -> None:
        """What ends content ends the rows that came from it. Bodies of acts outlive everything, so one must be here."""
        match body:
            case Erasure():
                erase(self._connection, tenant, GenerationRow.key_id.in_(body.key_ids))
            case Retirement():
                erase(self._connection, tenant, GenerationRow.first_seq <= body.last)
            case _:
                raise MalformedData(f"act {header.seq} cannot be read: restore the keys folder, or the database, from a backup")

    def _fold(self, records: Sequence[Record]) -> None:
        before = self._rows({header.request for header, _ in records if header.request is not None})
        after, held = dict(before), defaultdict[UUID, list[Record]](list)
        for header, body in records:
            request = header.request
            if request is None:
                continue
            row = after.get(request) or begun(header, request)
            after[request] = told(row, header, body, self._means)
            if header.kind in CASE_KINDS:
                held[request].append((header, body))
        # Of a request that begins here all records are at hand; what came before them is read again.
        cases = {
            request: self._case(after, request, self._case_records(request) if request in before else own)
            for request, own in held.items()
        }
        gone = [request for request, row in after.items() if row.erased or cases.get(request, row) is None]
        self._write(GenerationRow, "id", [_values(row) for row in after.values()])
        self._write(ApprovalRow, "generation", [case for case in cases.values() if case is not None])
        if gone:
            _forget(self._connection, gone)
        days.add(self._connection, days.difference(before.values(), after.values()))

    def _rows(self, requests: Iterable[UUID]) -> dict[UUID, Told]:
        columns = [getattr(GenerationRow, name) for name in COLUMNS]
        found = self._connection.execute(select(*columns).where(GenerationRow.id.in_(list(requests))))
        return {row.id: Told(*row) for row in found}

    def _case_records(self, request: UUID) -> list[Record]:
        records = map(self._read, self._reader.case(request))
        return [(header, body) for header, body in records if header.seq < self._stop and header.kind in CASE_KINDS]

    def _case(self, rows: dict[UUID, Told], request: UUID, records: Sequence[Record]) -> dict[str, Any] | None:
        """The row of a held answer, and its request's at the same stage; a case with an unreadable record has none."""
        row = rows[request]
        case = None if row.erased else case_row(row, records, self._means)
        if case is not None:
            rows[request] = replace(row, state=case["state"])
        return case

    def _write(self, table: Any, key: str, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            statement = insert(table)
            replaced = {name: statement.excluded[name] for name in rows[0] if name != key}
            self._connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=replaced), list(rows))


def erase(connection: Connection, tenant: str, which: ColumnElement[bool]) -> None:
    """Leave of these requests what headers tell, take them out of the sums, and end the cases among them."""
    own = (GenerationRow.tenant == tenant) & which
    rows = own & ~GenerationRow.erased
    days.take_away(connection, tenant, rows)
    _forget(connection, select(GenerationRow.id).where(rows))
    # A row may be blank already, for its key was gone when it was read: looks at it were told before all the same.
    connection.execute(delete(LookRow).where(LookRow.generation.in_(select(GenerationRow.id).where(own))))
    connection.execute(update(GenerationRow).where(rows).values(_BLANK), execution_options={"synchronize_session": False})


def _forget(connection: Connection, requests: Sequence[UUID] | Select[Any]) -> None:
    """End the cases of these requests, and let nobody who asks the same find them by the hash of what was asked."""
    for table in (ApprovalRow, Attachment):
        connection.execute(delete(table).where(table.generation.in_(requests)))


def _values(row: Told) -> dict[str, Any]:
    return {name: getattr(row, name) for name in COLUMNS}
