"""A site whose law holds answers for people, and what tests of it do as a client, as a person, or with the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import policies
from audit.header import decode_header
from audit.keys import KeyStore
from audit.records import Body
from audit.store import read_tenant
from gateway.approvals.case import Case
from gateway.recorded import opened
from tests.audit.writer_samples import TENANT
from tests.gateway.ui.browsing import Browser, Site, site
from tests.postgres_fixtures import Database

LAW = """
schema = "palimpsest.policy/1"
tenant = "acme"
inherit = "baseline"
release = "whole"

[[gates]]
id = "unsure"
modes = ["diffusion"]
metric = "confidence_min"
below = 0.99999
action = "hold"
reason = "a token is not certain"

[[rules]]
id = "everything"
phase = "admit"
action = "hold"
approval = "one"
reason = "a person reads every answer"

[[rules]]
id = "twice"
phase = "admit"
when = { workflow = ["release"] }
action = "hold"
approval = "two"
reason = "what is released is read by two people"

[approvals.one]
hold_seconds = 0
edit_allowed = true

[approvals.two]
quorum = 2
hold_seconds = 0

[approvals.default]
hold_seconds = 0
"""


def law(folder: Path, text: str = LAW) -> policies.Policy:
    """The policy of this text."""
    path = folder / "held.toml"
    path.write_text(text, encoding="utf-8")
    return policies.load(path)


@dataclass(frozen=True)
class HeldSite:
    """A site under such a law."""

    site: Site

    async def hold(self, question: str = "hello", mode: str = "linear_spec", **more: Any) -> UUID:
        """Ask for something; the generation whose answer is held."""
        house, workflow = self.site.housed, more.pop("workflow", "")
        extra: dict[str, Any] = {"palimpsest": {"mode": mode, "workflow": workflow}, "max_tokens": 24} | more
        answer = await house.ask(question, **extra)
        return UUID(answer.headers["x-palimpsest-generation"])

    def acts(self) -> list[Body]:
        """All acts of people in the tenant's log."""
        log = self.site.housed.log
        with read_tenant(log.database.reader_url, TENANT) as reader:
            stored = list(reader.acts())
        opened_bodies = (opened(KeyStore(log.keys), decode_header(each.header), each.body) for each in stored)
        return [body for body in opened_bodies if body is not None]

    async def case(self, generation: UUID) -> Case:
        """How its approval stands."""
        found = await self.site.housed.house.approvals.find(TENANT, generation)
        assert found is not None
        return found

    async def shown(self, browser: Browser, generation: UUID) -> str:
        """The review page."""
        answer = await browser.get(f"/approvals/{generation}")
        assert answer.status_code == 200, answer.text
        return answer.text


@asynccontextmanager
async def held_site(database: Database, home: Path, text: str = LAW) -> AsyncIterator[HeldSite]:
    """The site."""
    async with site(database, home, law(home, text)) as here:
        yield HeldSite(here)
