"""A closed pool leaves no connection open, whoever still had one."""

from __future__ import annotations

from sqlalchemy import create_engine, text

from gateway.pools import close_pool
from gateway.settings import DatabaseUrl, sqlalchemy_url
from tests.postgres_fixtures import Database


def test_what_is_in_use_is_closed_when_it_is_given_back(database: Database) -> None:
    """A thread that reads while its pool is closed reads to its end; then that connection is closed too."""
    engine = create_engine(sqlalchemy_url(DatabaseUrl(database.app_url)))
    with engine.connect() as idle:
        resting = idle.connection.dbapi_connection
    with engine.connect() as used:
        working = used.connection.dbapi_connection
        close_pool(engine)
        assert used.scalar(text("SELECT 1")) == 1
    assert resting is working and working is not None and working.closed
