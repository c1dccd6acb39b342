"""Puts the house behind HTTP: the Litestar application, and `run`, which serves it with uvicorn in this process.

One process, one worker, one engine. Scale by processes over one PostgreSQL.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, Final, NoReturn

import uvicorn
from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp
from opentelemetry import trace

import policies
from engine.model import checkpoint
from gateway import logs, tracing
from gateway.api.routes import API
from gateway.database import open_database
from gateway.house import House
from gateway.http.bounds import Bounded
from gateway.http.chat import chat_completions, completions
from gateway.http.elsewhere import embeddings, hello
from gateway.http.evidence import generation_proof, log_resource
from gateway.http.failures import HANDLERS, of_framework
from gateway.http.heads import REQUEST_SECONDS, Connection
from gateway.http.health import live, ready
from gateway.http.identity import Identity
from gateway.http.messages import count_tokens, messages
from gateway.http.metrics import metrics
from gateway.http.models import list_models, show_model
from gateway.http.responses import cancel_response, create_response, show_response
from gateway.listening import hold
from gateway.metrics.traffic import note_refusal
from gateway.settings import Settings
from gateway.ui.failures import or_page
from gateway.ui.headers import Guarded
from gateway.ui.routes import pages
from gateway.ui.static_files import static_file

ROUTES: Final = (
    live,
    ready,
    metrics,
    hello,
    list_models,
    show_model,
    chat_completions,
    completions,
    embeddings,
    messages,
    count_tokens,
    create_response,
    show_response,
    cancel_response,
    log_resource,
    generation_proof,
    static_file,
)
GRACE_SECONDS: Final = 30


def create_app(house: House, served: Sequence[Any] | None = None) -> ASGIApp:
    """The ASGI application; its lifespan starts and drains the house. `served`: these handlers instead of all."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        try:
            await _started(house)
            yield
        finally:
            await house.stop()

    app = Litestar(
        route_handlers=[*ROUTES, API, pages(house)] if served is None else list(served),
        lifespan=[lifespan],
        dependencies={"house": Provide(lambda: house, sync_to_thread=False)},
        exception_handlers=HANDLERS | {HTTPException: or_page(of_framework)},
        after_exception=[note_refusal],
        openapi_config=None,
        logging_config=None,
    )
    return Identity(Guarded(Bounded(app)), house.numbers.traffic)


async def _started(house: House) -> None:
    """What keeps a house from coming up is kept for `run`: uvicorn would only write a traceback and exit."""
    try:
        await house.start()
    except Exception as error:
        house.hindrance = error
        raise


def run(settings: Settings, house: type[House] = House) -> None:
    """Serve until SIGTERM or SIGINT, then drain and exit with status 0.

    Raises SettingsError for an address that cannot be had, and what opening database, checkpoint, log or keys raises.
    `house` is the kind of house that is served.
    """
    logs.configure()
    # uvicorn raises a signal anew once it has drained; by default that would kill us before the database is closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    spans = tracing.provider(os.environ)
    trace.set_tracer_provider(spans)
    try:
        with hold(settings.host, settings.port) as sockets:
            _serve(settings, house, sockets)
    finally:
        spans.shutdown()


def _serve(settings: Settings, house: type[House], sockets: list[socket.socket]) -> None:
    model = checkpoint.load(settings.checkpoint, device=settings.device)
    policy = policies.load(policies.BASELINE)
    with open_database(settings, logs.notice, remind=True) as urls:
        made = house(settings, urls, model, policy)
        app = create_app(made)
        config = uvicorn.Config(
            app, http=Connection, log_config=None, access_log=False,
            timeout_keep_alive=REQUEST_SECONDS, timeout_graceful_shutdown=GRACE_SECONDS,
        )  # fmt: skip
        server = uvicorn.Server(config)
        made.leaving = lambda: server.should_exit
        told = lambda _: made.hindrance is None  # noqa: E731 - a filter: what ends this process is said once, by its caller
        logging.getLogger("uvicorn.error").addFilter(told)
        # Code and weights stay to the end: a collection that looked at them held every answer up for a quarter of a second.
        gc.freeze()
        try:
            server.run(sockets)
        except SystemExit:
            if made.hindrance is not None:
                raise made.hindrance from None
            raise
        finally:
            logging.getLogger("uvicorn.error").removeFilter(told)
            gc.unfreeze()  # what is never collected is told of at the end, as a leak, by libraries that count


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Unwind, so that everything that was opened is closed."""
    raise SystemExit(0)
