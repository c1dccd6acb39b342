"""A held site behind a real port, for a real browser: the house runs in a loop of its own, in a thread beside the test."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import uvicorn

from tests.gateway.ui.held import HeldSite, held_site
from tests.postgres_fixtures import Database

T = TypeVar("T")


@dataclass(frozen=True)
class Window:
    """Where the pages are, and a way to ask the house from the test's own thread."""

    url: str
    held: HeldSite
    _loop: asyncio.AbstractEventLoop
    _stop: asyncio.Event

    @property
    def named(self) -> str:
        """The same place by its name, as browsers want it for passkeys."""
        return self.url.replace("127.0.0.1", "localhost")

    def ask(self, work: Callable[[HeldSite], Awaitable[T]]) -> T:
        """What a coroutine of the house's loop gives."""

        async def asked() -> T:
            return await work(self.held)

        return asyncio.run_coroutine_threadsafe(asked(), self._loop).result(60)


@contextmanager
def windowed(database: Database, home: Path) -> Iterator[Window]:
    """Serve a held site until the end of the block."""
    opened: Future[Window] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(database, home, opened)), name="pages")
    thread.start()
    window = opened.result(60)
    try:
        yield window
    finally:
        window._loop.call_soon_threadsafe(window._stop.set)
        thread.join(60)
        assert not thread.is_alive()


async def _serve(database: Database, home: Path, opened: Future[Window]) -> None:
    try:
        # Whoever comes before it serves waits in line. Browsers know passkeys under a name, not under an address.
        with socket.create_server(("127.0.0.1", 0)) as port:
            named = f"http://localhost:{port.getsockname()[1]}"
            async with held_site(database, home, base_url=named) as held:
                await _serve_at(port, held, opened)
    except BaseException as error:
        if not opened.done():
            opened.set_exception(error)
        raise


async def _serve_at(port: socket.socket, held: HeldSite, opened: Future[Window]) -> None:
    config = uvicorn.Config(held.site.housed.app, lifespan="off", log_config=None, access_log=False)
    server, stop = uvicorn.Server(config), asyncio.Event()
    running = asyncio.create_task(server.serve([port]))
    url = f"http://127.0.0.1:{port.getsockname()[1]}"
    opened.set_result(Window(url, held, asyncio.get_running_loop(), stop))
    await stop.wait()
    server.should_exit = True
    await running
