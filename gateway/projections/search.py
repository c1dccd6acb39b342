"""Generations, newest first, by what is known of them; of their texts nothing is here but a keyed hash."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Engine, LargeBinary, Select, column, func, literal, select, true, tuple_

from audit.keys import KeyStore
from gateway.projections.folding import COLUMNS, Stage, Told
from gateway.projections.paging import FIRST, Found, Page, Place
from gateway.projections.tables import GenerationRow
from gateway.projections.text_key import TextKeys


@dataclass(frozen=True, slots=True)
class Sought:
    """What a generation must be like; None asks for nothing. It was opened at `since` or later, and before `until`.

    `text_sha256` is the SHA-256 of the whole text that was delivered, in UTF-8.
    """

    mode: str | None = None
    state: Stage | None = None
    caller: str | None = None
    workflow: str | None = None
    verdict: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text_sha256: bytes | None = None


ANY: Final = Sought()


class Search:
    """Generations of one tenant at a time. Blocking: call it in a thread."""

    def __init__(self, engine: Engine, keys: KeyStore) -> None:
        self._engine, self._texts = engine, TextKeys(keys)

    def generations(self, tenant: str, sought: Sought = ANY, page: Page = FIRST) -> Found[Told]:
        """One page. Raises SQLAlchemyError when the database cannot be reached."""
        row = GenerationRow
        # One more than asked for tells whether there is a next page.
        chosen = self._newest(tenant, sought, page.after, page.rows + 1).subquery()
        query = select(*_COLUMNS).join(chosen, chosen.c.id == row.id).order_by(row.opened_at.desc(), row.id.desc())
        with self._engine.connect() as connection:
            found = [Told(*each) for each in connection.execute(query)]
        rows = found[: page.rows]
        return Found(rows, Place(rows[-1].opened_at, rows[-1].id) if len(found) > page.rows else None)

    def generation(self, tenant: str, generation: UUID) -> Told | None:
        """One generation of the tenant, None if it has no such one."""
        query = select(*_COLUMNS).where(GenerationRow.id == generation, GenerationRow.tenant == tenant)
        with self._engine.connect() as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else Told(*found)

    def _newest(self, tenant: str, sought: Sought, after: Place | None, rows: int) -> Select[UUID, datetime]:
        """The keys of a page, each from an index alone."""
        row = GenerationRow
        keys = select(row.id, row.opened_at).where(row.tenant == tenant, *_conditions(sought))
        if after is not None:
            keys = keys.where(tuple_(row.opened_at, row.id) < tuple_(after.at, after.id))
        keys = keys.order_by(row.opened_at.desc(), row.id.desc()).limit(rows)
        if sought.text_sha256 is None:
            return keys
        # A page for each key that the text may be filed under: one query for all of them at once would leave a planner that
        # thinks the text common free to walk the whole of time for it.
        hmacs = literal(self._texts.every_hmac(tenant, sought.text_sha256), ARRAY(LargeBinary))
        filed = func.unnest(hmacs).table_valued(column("hmac", LargeBinary), name="filed").render_derived()
        of_one = keys.where(row.text_hmac == filed.c.hmac).lateral()
        newest = of_one.c.opened_at.desc(), of_one.c.id.desc()
        return select(of_one).join_from(filed, of_one, true()).order_by(*newest).limit(rows)


def _conditions(sought: Sought) -> list[ColumnElement[bool]]:
    row = GenerationRow
    same = ((row.mode, sought.mode), (row.state, sought.state), (row.caller, sought.caller),
            (row.workflow, sought.workflow), (row.verdict, sought.verdict))  # fmt: skip
    found = [column == value for column, value in same if value is not None]
    if sought.since is not None:
        found.append(row.opened_at >= sought.since)
    if sought.until is not None:
        found.append(row.opened_at < sought.until)
    return found


_COLUMNS = [getattr(GenerationRow, name) for name in COLUMNS]
