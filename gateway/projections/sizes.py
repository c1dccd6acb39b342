"""How long each log is, asked time and again over a connection that is kept: so a follower knows of anything new."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Text, column, create_engine, func, select, table

from gateway.pools import close_pool
from gateway.settings import DatabaseUrl, sqlalchemy_url

_HEADER: Final = table("header", column("tenant", Text), column("seq", BigInteger), schema="audit")


class Sizes:
    """Sizes of logs, read as gov_reader. Blocking."""

    def __init__(self, reader_url: DatabaseUrl) -> None:
        self._engine = create_engine(sqlalchemy_url(reader_url), pool_size=1, pool_pre_ping=True)

    def of(self, tenant: str) -> int:
        """How many records a tenant's log has. Raises SQLAlchemyError when the database cannot be reached."""
        with self._engine.begin() as connection:
            connection.execute(select(func.set_config("gov.tenant", tenant, True)))
            newest = connection.scalar(select(func.max(_HEADER.c.seq)).where(_HEADER.c.tenant == tenant))
        return 0 if newest is None else int(newest) + 1

    def close(self) -> None:
        """Close the connection."""
        close_pool(self._engine)
