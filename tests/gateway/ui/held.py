"""A site whose law holds answers for people, and what tests of it do as a client, as a person, or with the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import policies
from audit.header import decode_header, uuid7
from audit.judgements import Called, ReleaseDecision
from audit.keys import KeyStore
from audit.records import Body, DecodeRun, Kind, RequestClose
from audit.store import read_tenant
from engine.request import Mode
from gateway.approvals.case import Case
from gateway.recorded import opened
from tests.audit.samples import SAMPLES
from tests.audit.writer_samples import TENANT
from tests.engine.harness import asked
from tests.gateway.housed import tiny
from tests.gateway.tenant_log import entry
from tests.gateway.tenant_log import opened as opened_request
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

[[rules]]
id = "hurry"
phase = "admit"
when = { workflow = ["hurry"] }
action = "hold"
approval = "soon"
reason = "whoever asks cannot wait"

[[rules]]
id = "today"
phase = "admit"
when = { workflow = ["today"] }
action = "hold"
approval = "today"

[approvals.today]
hold_seconds = 0
expires_seconds = 240

[approvals.one]
hold_seconds = 0
edit_allowed = true

[approvals.soon]
hold_seconds = 0
expires_seconds = 2
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


_SEEDS = count(1)


@dataclass(frozen=True)
class HeldSite:
    """A site under such a law."""

    site: Site

    async def hold(self, question: str = "hello", mode: str = "linear_spec", **more: Any) -> UUID:
        """Ask for something; the generation whose answer is held."""
        house, workflow = self.site.housed, more.pop("workflow", "")
        # A seed of its own, for the same question asked again would be answered by the same held answer.
        own: dict[str, Any] = {"palimpsest": {"mode": mode, "workflow": workflow}, "max_tokens": 24, "seed": next(_SEEDS)}
        answer = await house.ask(question, **own | more)
        return UUID(answer.headers["x-approval-id"])

    async def say(self, text: str, *tools: str) -> UUID:
        """A generation whose model wrote exactly this and called these tools, unsure of every token, by its records."""
        house, ids = self.site.housed.house, tiny().tokenizer.encode(text)
        request = replace(asked(Mode.AR, (1, 200), 4096), id=uuid7())
        await opened_request(house.writer, request, house.instance)
        run, close = DecodeRun(2, tuple(ids), (-1.5,) * len(ids), len(ids)), SAMPLES[Kind.REQUEST_CLOSE]
        assert isinstance(close, RequestClose)
        judged = ReleaseDecision("allow", (), (), (), (), tuple(Called(tool, ()) for tool in tools), (), (), ())
        bodies = (run, judged, replace(close, tokens=len(ids)))
        await house.writer.append([entry(request.id, body) for body in bodies])
        return request.id

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
async def held_site(database: Database, home: Path, text: str = LAW, **settings: str) -> AsyncIterator[HeldSite]:
    """The site."""
    async with site(database, home, law(home, text), **settings) as here:
        yield HeldSite(here)
