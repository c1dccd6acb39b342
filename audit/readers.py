"""Connections of gov_reader that are kept from one reading to the next: opening one takes longer than most readings do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from audit.store import LogInterrupted, ReadConnection, Reader, told_as_ours

KEPT: Final = 4


class Readers:
    """Reads any tenant's log. Blocks; safe for several threads, each of which has a connection to itself while it reads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: deque[ReadConnection] = deque()
        self._closed = False

    @contextmanager
    def tenant(self, tenant: str) -> Iterator[Reader]:
        """A snapshot of one tenant's log, as `read_tenant` gives it; raises LogInterrupted or LogRefused."""
        connection, reader = self._begun(tenant)
        try:
            with told_as_ours():
                yield reader
        finally:
            if connection.end():
                self._idle.append(connection)
                self._trim()
            else:
                connection.close()

    def close(self) -> None:
        """Close what is idle, and from now on whatever has been read from."""
        self._closed = True
        self._trim()

    def _trim(self) -> None:
        """Close what is idle beyond what is kept; once this is closed, all."""
        while len(self._idle) > (0 if self._closed else KEPT) and (connection := self._taken()) is not None:
            connection.close()

    def _begun(self, tenant: str) -> tuple[ReadConnection, Reader]:
        """One that was kept, if it lives: a server that was started again has ended all of them."""
        while (kept := self._taken()) is not None:
            try:
                return kept, kept.begin(tenant)
            except LogInterrupted:
                kept.close()
        made = ReadConnection(self._url)
        try:
            return made, made.begin(tenant)
        except BaseException:
            made.close()
            raise

    def _taken(self) -> ReadConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None
