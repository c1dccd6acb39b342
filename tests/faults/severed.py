"""A Unix-socket proxy before PostgreSQL that cuts the connection at a chosen moment of a COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

SOCKET = ".s.PGSQL.5432"
_APPEND = b"audit.append("
_READY = b"Z\x00\x00\x00\x05I"
"""ReadyForQuery outside of a transaction: the server has committed."""


class Moment(Enum):
    """When a COMMIT loses its connection."""

    BEFORE_SENT = "before it was sent"
    SENT = "as soon as it was sent"
    ANSWERED = "when the server has answered, before the answer"


class Severing:
    """Passes messages both ways; each of the next `cuts` commits loses its connection. Belongs to one event loop.

    An append is one statement, which the server commits at the Sync message behind it (PostgreSQL 18, 54.2.3).
    """

    def __init__(self, server: Path, moment: Moment) -> None:
        self.cuts = 0
        self.made = 0
        """Connections that were cut."""
        self._server, self._moment = server, moment
        self._serving = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._serving.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Returns when every client has left."""
        await self._serving.__aexit__(*error)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one more client."""
        self._serving.create_task(self._pass_on(reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it leaves or is cut."""
        upstream, downstream = await asyncio.open_unix_connection(str(self._server))
        answers = asyncio.create_task(_copy(upstream, writer))
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            length = await reader.readexactly(4)  # the first message alone has no type
            downstream.write(length + await reader.readexactly(int.from_bytes(length, "big") - 4))
            appends: set[bytes] = set()  # names of prepared statements that append
            appending = False
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
                if head[:1] == b"P":  # a later statement takes the place of one of the same name
                    name = body.partition(b"\0")[0]
                    appends = appends | {name} if _APPEND in body else appends - {name}
                if head[:1] == b"B":
                    appending = body.split(b"\0", 2)[1] in appends
                if self.cuts and appending and head[:1] == b"S":
                    await self._cut(head + body, downstream, upstream, answers)
                    break
                downstream.write(head + body)
                await downstream.drain()
        answers.cancel()
        for each in (downstream, writer):
            each.close()

    async def _cut(
        self, commit: bytes, downstream: asyncio.StreamWriter, upstream: asyncio.StreamReader, answers: asyncio.Task[None]
    ) -> None:
        self.cuts -= 1
        self.made += 1
        answers.cancel()
        await asyncio.wait({answers})
        if self._moment is Moment.BEFORE_SENT:
            return
        downstream.write(commit)
        await downstream.drain()
        if self._moment is Moment.ANSWERED:
            heard = b""
            while not heard.endswith(_READY):
                piece = await upstream.read(65_536)
                assert piece, "the server left without committing"
                heard += piece


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await source.read(65_536):
            target.write(piece)
            await target.drain()


@asynccontextmanager
async def severing(url: str, moment: Moment) -> AsyncIterator[tuple[Severing, str]]:
    """A proxy before the server of `url`, which names the folder of its socket, and the URL through it."""
    with TemporaryDirectory(prefix="cut-") as own:
        async with Severing(_folder(url) / SOCKET, moment) as proxy:
            server = await asyncio.start_unix_server(proxy.accept, str(Path(own) / SOCKET))
            async with server:
                yield proxy, through(url, own)


def through(url: str, folder: str) -> str:
    """The URL with another folder for the server's socket."""
    return url.replace(quote(str(_folder(url)), safe=""), quote(folder, safe=""))


def _folder(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])
