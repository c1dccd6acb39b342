"""What is read of the projections, over one small pool of connections of its own."""

from __future__ import annotations

from sqlalchemy import create_engine

from audit.keys import KeyStore
from gateway.pools import close_pool
from gateway.projections.desk import Desks
from gateway.projections.economics import Ledger
from gateway.projections.held import HeldCount
from gateway.projections.looks import Looks
from gateway.projections.queue import Queue
from gateway.projections.search import Search
from gateway.settings import DatabaseUrl, sqlalchemy_url

# Somebody waits for a page: a server that does not answer must show within seconds.
_PATIENCE = "-c statement_timeout=10s"


class Views:
    """Every question that pages and the API ask. Blocking: call it in a thread."""

    def __init__(self, url: DatabaseUrl, keys: KeyStore) -> None:
        self._engine = create_engine(
            sqlalchemy_url(url, _PATIENCE), pool_size=4, pool_pre_ping=True, connect_args={"connect_timeout": 3}
        )
        self.queue = Queue(self._engine)
        self.desks = Desks(self._engine)
        self.looks = Looks(self._engine)
        self.search = Search(self._engine, keys)
        self.ledger = Ledger(self._engine)
        self.held = HeldCount(self._engine)

    def close(self) -> None:
        """Close all connections."""
        close_pool(self._engine)
