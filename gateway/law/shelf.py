"""Policies as the database keeps them, so that every gateway finds the one in force within a second. Never evidence.

Both tables are made from the log's records of kind 40 and can be made again at any time. Blocking: call it in a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import DateTime, ForeignKey, LargeBinary, Text, create_engine, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column, sessionmaker

from audit.laws import InForce, Laws
from gateway.pools import close_pool
from gateway.settings import DatabaseUrl, sqlalchemy_url
from gateway.tables import Table


class PolicyVersion(Table):
    """A policy that some record put in force: its digest and the text that the digest is of. Never changed."""

    __tablename__ = "policy_version"

    tenant: Mapped[str] = mapped_column(ForeignKey("app.tenant.name"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    seq: Mapped[int]
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PolicyInForce(Table):
    """Which version judges a tenant's requests, and which one a share of them."""

    __tablename__ = "policy_in_force"

    tenant: Mapped[str] = mapped_column(ForeignKey("app.tenant.name"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    candidate: Mapped[bytes | None] = mapped_column(LargeBinary)
    share: Mapped[float | None]
    seq: Mapped[int]


@dataclass(frozen=True, slots=True)
class Placed:
    """The digests in force for one tenant."""

    tenant: str
    in_force: InForce


class Shelf:
    """The two tables."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._engine = create_engine(sqlalchemy_url(url), pool_size=1, pool_pre_ping=True)
        self._session = sessionmaker(self._engine)

    def placed(self) -> Sequence[Placed]:
        """What is in force, for every tenant that has a policy of its own."""
        with self._session() as session:
            rows = session.scalars(select(PolicyInForce)).all()
        return [Placed(row.tenant, InForce(row.seq, row.digest, row.candidate, row.share)) for row in rows]

    def text(self, tenant: str, digest: bytes) -> str:
        """The text of a version, empty if it is not here."""
        with self._session() as session:
            found = session.get(PolicyVersion, (tenant, digest))
            return "" if found is None else found.document

    def project(self, tenant: str, laws: Laws) -> None:
        """Make the tables say what the log says. The caller sees to it that no other process does so for this log meanwhile."""
        with self._session.begin() as session:
            known = set(session.scalars(select(PolicyVersion.digest).where(PolicyVersion.tenant == tenant)))
            for row in (row for row in _versions(tenant, laws) if row["digest"] not in known):
                session.execute(insert(PolicyVersion).values(row).on_conflict_do_nothing())
            self._place(session, tenant, laws.in_force)

    @staticmethod
    def _place(session: Session, tenant: str, now: InForce | None) -> None:
        if now is None:
            session.execute(delete(PolicyInForce).where(PolicyInForce.tenant == tenant))
            return
        row = {"digest": now.digest, "candidate": now.candidate, "share": now.share, "seq": now.seq}
        session.execute(
            insert(PolicyInForce).values(tenant=tenant, **row).on_conflict_do_update(index_elements=["tenant"], set_=row)
        )

    def close(self) -> None:
        """Close all connections."""
        close_pool(self._engine)


def _versions(tenant: str, laws: Laws) -> list[dict[str, object]]:
    return [
        {
            "tenant": tenant,
            "digest": each.change.after,
            "document": each.change.document,
            "seq": each.seq,
            "recorded_at": datetime.fromtimestamp(each.ts / 1_000_000, UTC),
        }
        for each in laws.changes
    ]
