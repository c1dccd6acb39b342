"""A process that dies while it makes user ada of acme: `python -m tests.gateway.people.dying APP READER HOME before|after`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from audit.writer import Entry, Range
from gateway.administration import Administration
from gateway.appending import Log
from gateway.database import Urls
from gateway.on_record import writing
from gateway.people.names import Role
from gateway.people.users import new_user
from gateway.settings import DatabaseUrl, Settings
from tests.gateway.people.office import ME
from tests.gateway.planted import CHEAP, PASSWORD

STATUS = 9


class Deadly:
    """A log that its process does not survive: it dies before the record is stored, or right after."""

    def __init__(self, log: Log, moment: str) -> None:
        self._log, self._moment = log, moment

    async def append(self, entries: Sequence[Entry], linger: float = 0.0) -> Range:
        """Never returns."""
        if self._moment == "after":
            await self._log.append(entries)
        os._exit(STATUS)

    def hurry(self, linger: float = 0.0) -> None:
        """Nobody waits."""


async def main(app: str, reader: str, home: str, moment: str) -> None:
    """Begin to make the user."""
    urls, settings = Urls(DatabaseUrl(app), DatabaseUrl(reader)), Settings.read({"PALIMPSEST_HOME": home})
    async with writing(settings, urls, "acme") as writer:
        deadly = Administration(Deadly(writer, moment), urls, settings.keys)
        await deadly.make("acme", ME, new_user("acme", "ada", "Ada", [Role.OPERATOR], [], CHEAP.hash(PASSWORD.encode())))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
