"""A house that holds every answer, and people and keys who ask its API."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from litestar.types import ASGIApp

import policies
from audit.acts import Access
from audit.header import decode_header
from audit.keys import KeyStore
from audit.sealer import open_body
from audit.store import read_tenant
from gateway.people.names import Role
from gateway.ui import forgery
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed
from tests.gateway.planted import PASSWORD, plant_key, plant_tenant
from tests.gateway.ui.browsing import Browser, Site, site
from tests.policies.documents import policy
from tests.postgres_fixtures import Database

RULE = '[[rules]]\nid = "all"\nphase = "admit"\naction = "hold"\napproval = "people"\n'
OTHER = "other"


def law(quorum: int = 1) -> policies.Policy:
    """Every answer is held, for so many approvers, who may edit it."""
    return policy(RULE + f"[approvals.people]\nquorum = {quorum}\nhold_seconds = 0\nedit_allowed = true\n")


@dataclass
class Person:
    """Somebody signed in, who asks the API by the cookie of the session."""

    browser: Browser

    @property
    def token(self) -> str:
        """What a change by this session takes."""
        return forgery.token(self.browser.client.cookies["palimpsest_session"])

    @property
    def _csrf(self) -> dict[str, str]:
        return {forgery.HEADER: self.token}

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Read."""
        return await self.browser.client.get(path, headers=headers)

    async def act(self, path: str, looked_at: str | None = None, password: str = PASSWORD, **fields: Any) -> httpx.Response:
        """Do something, with the password, about the content that was looked at."""
        condition = {} if looked_at is None else {"if-match": f'"{looked_at}"'}
        return await self.browser.client.post(path, json={"password": password} | fields, headers=self._csrf | condition)

    async def post(self, path: str, document: Any, **headers: str) -> httpx.Response:
        """Send a document as it is."""
        return await self.browser.client.post(path, json=document, headers=self._csrf | headers)


@dataclass
class Office:
    """The house with its people: `grace` and `lin` approve, `ada` audits, `kay` runs it; `eve` approves for another tenant."""

    site: Site
    grace: Person
    lin: Person
    ada: Person
    kay: Person
    eve: Person
    other_key: str
    _numbers: Any = field(default_factory=itertools.count)

    @property
    def inside(self) -> Housed:
        """The house."""
        return self.site.housed

    @property
    def key(self) -> httpx.AsyncClient:
        """A client with the key that asks the questions."""
        return self.inside.client

    async def held(self, mode: str = "linear_spec") -> UUID:
        """An answer that waits for people, and that the projections know of."""
        return await held(self.inside, next(self._numbers), mode)

    async def tag(self, generation: UUID) -> str:
        """The content that waits, as the ETag has it."""
        return (await self.grace.get(f"/api/approvals/{generation}")).headers["etag"].strip('"')

    def accesses(self) -> list[Access]:
        """Every access on record."""
        keys = KeyStore(self.inside.log.keys)
        with read_tenant(self.site.database.reader_url, TENANT) as reader:
            acts = [(decode_header(each.header), each.body) for each in reader.acts()]
        bodies = [open_body(keys, header, body) for header, body in acts if body is not None]
        return [body for body in bodies if isinstance(body, Access)]


@asynccontextmanager
async def office(database: Database, home: Path) -> AsyncIterator[Office]:
    """All of it."""
    async with site(database, home, law()) as here:
        plant_tenant(database.app_url, OTHER)
        signed_in = here.signed_in
        async with (
            signed_in("grace", Role.APPROVER) as grace,
            signed_in("lin", Role.APPROVER) as lin,
            signed_in("ada", Role.AUDITOR) as ada,
            signed_in("kay", Role.OPERATOR) as kay,
            signed_in("eve", Role.APPROVER, Role.AUDITOR, tenant=OTHER) as eve,
        ):
            key = plant_key(database.app_url, OTHER).text
            yield Office(here, Person(grace), Person(lin), Person(ada), Person(kay), Person(eve), key)


async def held(inside: Housed, number: int, mode: str) -> UUID:
    """A real answer to a question of its own, which waits for people and is in the tables."""
    model, question = f"{inside.house.intake.model.name}:{mode}", f"Write a function that adds {number}."
    answer = await inside.ask(question, model=model, max_tokens=24)
    await inside.house.projector.look(TENANT)
    return UUID(answer.headers["x-request-id"])


async def feed(of: Office, since: int, most: int = 1_000_000) -> AsyncIterator[dict[str, Any]]:
    """Events of the queue behind a record, as a browser that returns would hear them, from an answer that never ends."""
    hearing = heard(of, of.grace, "/api/approvals/feed", since)
    async with aclosing(hearing):
        async for event in hearing:
            yield event.data
            most -= 1
            if not most:
                return


@dataclass(frozen=True)
class Event:
    """One server-sent event; `id` is -2 where it has none."""

    name: str
    id: int
    data: dict[str, Any]


async def heard(of: Office, who: Person, path: str, since: int | None = None) -> AsyncGenerator[Event]:
    """Events as a browser hears them, until the answer ends or whoever listens leaves."""
    told: asyncio.Queue[bytes] = asyncio.Queue()
    gone = asyncio.Event()
    headers = {"host": "housed", "cookie": f"palimpsest_session={who.browser.client.cookies['palimpsest_session']}"}
    if since is not None:
        headers["last-event-id"] = str(since)
    serving = asyncio.create_task(serve(path, headers, of.inside.app, told, gone))
    serving.add_done_callback(lambda _: told.put_nowait(b""))
    try:
        while piece := await told.get():
            for frame in piece.decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
                if "data" in fields:
                    yield Event(fields["event"], int(fields.get("id", -2)), json.loads(fields["data"]))
    finally:
        gone.set()
        await asyncio.wait_for(serving, 20)


async def serve(path: str, headers: dict[str, str], app: ASGIApp, told: asyncio.Queue[bytes], gone: asyncio.Event) -> None:
    """One GET by hand; the client leaves when `gone` is set."""

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            if message.get("body"):
                told.put_nowait(message["body"])
            if not message.get("more_body"):
                gone.set()  # as a server says it of a connection whose answer has ended

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1), "server": ("housed", 80),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    await app(scope, receive, send)  # type: ignore[arg-type]
