"""A person at the pages, without a browser: a client with cookies that reads forms as they were shown."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

import policies
from gateway.people.directory import Directory
from gateway.people.names import Role
from gateway.settings import DatabaseUrl
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed, housed
from tests.gateway.planted import CHEAP, PASSWORD, plant_user
from tests.postgres_fixtures import Database

_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
BROWSER = {"accept": "text/html"}


@dataclass
class Browser:
    """A client that keeps cookies and never follows a redirect by itself."""

    client: httpx.AsyncClient
    shown: str = field(default="", repr=False)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Open an address; forms that are sent next are those shown there."""
        answer = await self.client.get(path, headers=BROWSER | headers)
        self.shown = answer.text
        return answer

    @property
    def secrets(self) -> dict[str, str]:
        """The token of the forms that were shown, and the tenant they were shown for."""
        found = {name: html.unescape(value) for name, value in _HIDDEN.findall(self.shown)}
        return {name: found[name] for name in ("csrf", "in_view") if name in found}

    async def post(self, path: str, fields: dict[str, Any], **headers: str) -> httpx.Response:
        """Send a form of the page that was shown last."""
        return await self.client.post(path, data=self.secrets | fields, headers=BROWSER | headers)

    async def sign_in(self, name: str, tenant: str = TENANT, password: str = PASSWORD, onward: str = "/") -> httpx.Response:
        """Give a name and a password at the sign-in page."""
        await self.get("/sign-in")
        return await self.post("/sign-in", {"tenant": tenant, "name": name, "password": password, "next": onward})


@dataclass(frozen=True)
class Site:
    """A running house, and as many browsers as a test needs."""

    housed: Housed
    database: Database

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        """A browser that nobody has used."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.housed.app), base_url="http://housed") as client:
            yield Browser(client)

    @asynccontextmanager
    async def signed_in(
        self, name: str, *roles: Role, tenant: str = TENANT, groups: tuple[str, ...] = ()
    ) -> AsyncIterator[Browser]:
        """A person of that name and with these roles, signed in."""
        plant_user(self.database.app_url, tenant, name, *roles, groups=groups)
        async with self.browser() as browser:
            answer = await browser.sign_in(name, tenant)
            assert answer.status_code == 303
            yield browser


@asynccontextmanager
async def site(database: Database, home: Path, policy: policies.Policy | None = None, **settings: str) -> AsyncIterator[Site]:
    """A whole house whose passwords are cheap to check."""
    async with housed(database, home, policy, None, None, **settings) as here:
        here.house.directory.close()
        here.house.directory = Directory(DatabaseUrl(database.app_url), CHEAP)
        yield Site(here, database)
