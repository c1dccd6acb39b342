"""Hostile words and foreign eyes: what anybody wrote is text, and another tenant's things are not there."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from audit.records import DecodeRun, Kind, RequestClose
from engine.request import Mode
from gateway.people.names import Role
from tests.audit.samples import SAMPLES
from tests.audit.writer_samples import TENANT
from tests.engine.harness import asked as generation_asked
from tests.gateway.housed import tiny
from tests.gateway.planted import plant_key, plant_tenant
from tests.gateway.tenant_log import entry, opened
from tests.gateway.ui.addresses import CHANGE, READ
from tests.gateway.ui.browsing import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALL = tuple(Role)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
RAW = ("<script>alert", "<img src=x", 'onerror=alert(1)>"')


async def said(shared: Site, text: str) -> UUID:
    """A generation whose model wrote exactly this, as its records tell it."""
    ids = tiny().tokenizer.encode(text)
    request = replace(generation_asked(Mode.AR, (1, 200), 40), id=uuid4())
    writer = shared.housed.house.writer
    await opened(writer, request, shared.housed.house.instance)
    run = DecodeRun(2, tuple(ids), tuple(-0.5 for _ in ids), len(ids))
    close = SAMPLES[Kind.REQUEST_CLOSE]
    assert isinstance(close, RequestClose)
    await writer.append([entry(request.id, run), entry(request.id, close)])
    await shared.housed.house.projector.look(TENANT)
    return request.id


async def test_hostile_words_stay_words(shared: Site) -> None:
    """Markup in prompts, answers, labels, names, groups, reasons and addresses reaches no page unescaped."""
    async with shared.signed_in("reader", *ALL) as browser:
        written = await said(shared, EVIL)
        answer = await shared.housed.ask(EVIL, palimpsest={"workflow": EVIL[:60]})
        generation = answer.headers["x-request-id"]
        await shared.housed.house.projector.look(TENANT)
        await browser.get("/admin/keys")
        told = await browser.post("/admin/keys", {"label": EVIL})
        key = told.text.split("/admin/keys/")[-1].split('"')[0]
        person = {"name": "mallory", "display_name": EVIL, "groups": EVIL, "new_password": "correct horse battery"}
        assert (await browser.post("/admin/people", person)).status_code == 303
        hold = {"reason": EVIL, "password": "correct horse battery"}
        refused = await browser.post("/retention/hold", hold | {"subject": EVIL})
        assert refused.status_code == 409 and not [raw for raw in RAW if raw in refused.text]
        assert (await browser.post("/retention/hold", hold)).status_code == 303
        pages = [f"/generations/{generation}{more}" for more in ("", "/reading")]
        pages += [f"/generations/{written}/reading", f"/policies/explain?generation={generation}", f"/admin/keys/{key}"]
        pages += [
            "/generations",
            "/admin",
            "/admin/people/mallory",
            "/admin/keys",
            "/retention",
            "/exports",
            "/log",
            "/economics",
        ]
        hostile = quote(EVIL)
        pages += [f"{path}?{name}={hostile}" for path, name in (
            ("/generations", "caller"), ("/generations", "after"), ("/generations", "state"), ("/economics", "since"),
            ("/exports", "request"), ("/sign-in", "next"), ("/patterns", "done"), ("/policies/explain", "generation"),
            ("/approvals", "state"), ("/nowhere", "x"),
        )]  # fmt: skip
        for path in pages:
            shown = await browser.get(path)
            assert shown.status_code in (200, 400, 404), (path, shown.status_code)
            assert not [raw for raw in RAW if raw in shown.text], path
        reading = (await browser.get(f"/generations/{written}/reading")).text
        assert "&lt;script&gt;" in re.sub(r"</?span[^>]*>", "", reading), "the model's words are shown, as words"
        refused = await browser.post("/admin/people", person | {"name": EVIL})
        assert refused.status_code == 409 and not [raw for raw in RAW if raw in refused.text]


async def test_another_tenants_things_are_nowhere(shared: Site) -> None:
    """Whoever has every role in one tenant reads and changes nothing of another, whatever ids are known."""
    plant_tenant(shared.database.app_url, "globex")
    async with (
        shared.signed_in("ada", *ALL) as ours,
        shared.signed_in("eve", *ALL, tenant="globex") as theirs,
    ):
        generation = (await shared.housed.ask("hello")).headers["x-request-id"]
        await shared.housed.house.projector.look(TENANT)
        key = plant_key(shared.database.app_url, TENANT, "ours alone")
        await ours.get("/exports")
        job = (await ours.post("/exports", {"disclose": "nothing", "reason": "ours"})).headers["location"].split("/")[-1]
        known = {"generation": generation, "key": str(key.id), "job": job, "parcel": job, "name": "ada", "act": "disable"}
        assert (await ours.get(f"/generations/{generation}")).status_code == 200
        for route in READ:
            nobodys = await theirs.get(route.at({"name": "nobody"}))
            shown = await theirs.get(route.at(known))
            assert shown.status_code == nobodys.status_code, route.path
            assert "ours alone" not in shown.text, route.path
            assert "{" in route.path or generation not in shown.text, route.path
        before = shared.housed.log.size()
        await theirs.get("/account")
        for route in (route for route in CHANGE if "{" in route.path):
            refused = await theirs.post(route.at(known), {"new_password": "correct horse battery", "content": "0" * 64})
            assert refused.status_code in (400, 404, 412, 428), (route.path, refused.status_code)
        assert shared.housed.log.size() == before
        assert shared.housed.house.registry.find(key.text) is not None
