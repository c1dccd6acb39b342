"""`GET /metrics` over a real gateway: the numbers are what happened, and nothing else is in them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

import policies
from audit.store import read_tenant
from gateway.app import ROUTES, create_app
from gateway.registry import PREFIX
from tests.audit.writer_samples import TENANT
from tests.gateway.approvals.test_webhooks import hook
from tests.gateway.asgi import Reader
from tests.gateway.housed import CHAT, Housed, housed, tiny
from tests.gateway.metrics.scraped import TOKEN, answer, scraped
from tests.gateway.watched import Watched, unhurried
from tests.policies.documents import policy
from tests.postgres_fixtures import Database
from tests.waiting import until

LAW = """
[[rules]]
id = "people"
phase = "admit"
action = "hold"
approval = "people"
when = { workflow = ["release"] }
[[rules]]
id = "never"
phase = "admit"
action = "block"
when = { workflow = ["never"] }
[[rules]]
id = "stopped"
phase = "release"
action = "block"
when = { workflow = ["stopped"] }
[approvals.people]
hold_seconds = 0
"""
SECRET = "zebrafish"
README = Path(__file__).parents[3] / "gateway" / "README.md"
LABELS = {"dialect", "status", "code", "cause", "mode", "outcome", "state", "place", "le"}


def law() -> policies.Policy:
    """Answers of one workflow are held, another is refused."""
    return policy(LAW)


async def anthropic(inside: Housed, **more: Any) -> httpx.Response:
    """One request in Anthropic's dialect."""
    name = inside.house.intake.model.name
    body = {"model": name, "messages": [{"role": "user", "content": SECRET}], "temperature": 0, "max_tokens": 6}
    return await inside.client.post("/v1/messages", json=body | more)


async def workload(inside: Housed) -> Sequence[httpx.Response]:
    """Four answers in two modes and two dialects, one of them held; then two refusals and three that nobody may ask."""
    return [
        await inside.ask(SECRET),
        await inside.ask(SECRET, palimpsest={"mode": "ar"}),
        await anthropic(inside, stream=True, palimpsest={"mode": "ar"}),
        await inside.ask(SECRET, palimpsest={"mode": "ar", "workflow": "release"}),
        await inside.ask(SECRET, palimpsest={"workflow": "never"}),
        await anthropic(inside, model="unheard-of"),
        await inside.ask(SECRET, key="no-key"),
        await inside.client.get("/v1/models", headers={"authorization": ""}),
        await inside.client.get("/api/generations", headers={"authorization": ""}),
    ]


@pytest.mark.parametrize("when", [-1, -2], ids=["before the answer", "within the request"])
async def test_a_client_that_left_is_no_fault(database: Database, tmp_path: Path, when: int) -> None:
    """Who leaves before an answer has begun counts as `none`: nobody was told of a refusal, and nothing of ours failed."""
    async with housed(database, tmp_path, metrics_token=TOKEN) as inside:
        body = {"model": inside.house.intake.model.name, "messages": [{"role": "user", "content": SECRET}], "max_tokens": 400}
        await Reader(leaves_after=when).ask(inside.app, CHAT, body, inside.key)
        after = await scraped(inside)
    assert after.by("http_requests_total", "status") == {"none": 1} and after.by("http_refusals_total", "code") == {}


async def test_the_numbers_are_what_happened(database: Database, tmp_path: Path) -> None:
    """Requests, refusals, 401s, ends, tokens, passes and records of a scrape are those of the answers and of the log."""
    async with housed(database, tmp_path, law(), metrics_token=TOKEN) as inside:
        before = await scraped(inside)
        assert before.by("generations_total", "outcome") == before.by("http_refusals_total", "code") == {}
        answers = await workload(inside)
        assert [told.status_code for told in answers] == [200, 200, 200, 400, 400, 404, 401, 401, 401]
        await until(lambda: inside.house.seats.taken == 0)
        await asyncio.to_thread(inside.house.projector.round)
        after = await scraped(inside)
        with read_tenant(database.reader_url, TENANT) as reader:
            records = reader.size()

    by_status = {status: after.value("http_requests_total", dialect="openai.chat", status=status) for status in ("2xx", "4xx")}
    assert by_status == {"2xx": 2, "4xx": 3}
    assert after.value("http_requests_total", dialect="anthropic.messages", status="2xx") == 1
    refusals = {"approval_required": 1, "blocked_by_policy": 1, "model_not_found": 1, "invalid_api_key": 3}
    assert after.by("http_refusals_total", "code") == refusals
    assert after.by("unauthenticated_total", "cause") == {"unknown": 1, "absent": 1, "session": 1}
    assert after.value("http_request_duration_seconds_count", dialect="openai.chat") == 5
    assert after.by("http_streams_open", "dialect") == {} and after.value("http_requests_open") == 1  # that which asks

    assert after.by("generations_total", "outcome") == {"delivered": 3, "held": 1}
    assert after.by("generations_total", "mode") == {"diffusion": 1, "ar": 3}
    (first, second), account = (told.json()["usage"] for told in answers[:2]), answers[0].json()["palimpsest"]
    assert after.value("prompt_tokens_total", mode="diffusion") == first["prompt_tokens"]
    assert after.value("completion_tokens_total", mode="diffusion") == first["completion_tokens"]
    assert after.value("forwards_total", mode="diffusion") == account["forwards"]
    assert after.value("completion_tokens_total", mode="ar") >= second["completion_tokens"]
    assert after.value("device_busy_seconds_total", mode="ar") > 0
    assert after.value("held_answers", state="pending") == 1 and after.value("held_answers_oldest_seconds") > 0
    assert (after.value("generations_open"), after.value("generations_limit")) == (0, 512)

    figures = inside.house.intake.engine.figures()
    assert after.value("engine_passes_total") == figures.passes > 0 and after.value("engine_rows_total") == figures.rows
    assert sum(after.by("engine_kv_pages", "state").values()) == figures.pages
    assert after.value("audit_records_total") == records
    assert 0 < after.value("audit_commit_duration_seconds_count") <= records
    assert (after.value("audit_up"), after.value("audit_catalog_intact"), after.value("engine_up")) == (1, 1, 1)
    assert (after.value("audit_queue_records"), after.value("projections_lag_records")) == (0, 0)


async def test_nothing_but_numbers_is_told(database: Database, tmp_path: Path) -> None:
    """No tenant, prompt, answer, key or token is in a scrape; labels are few; every name is one of gateway/README.md's."""
    async with housed(database, tmp_path, law(), metrics_token=TOKEN) as inside:
        answers = await workload(inside)
        await inside.client.get(f"/{SECRET}/{inside.key}")
        numbers = await scraped(inside)
    key = next(iter(answers)).request.headers["authorization"].removeprefix("Bearer ")
    text = answers[0].json()["choices"][0]["message"]["content"]
    for hidden in (TENANT, SECRET, key, key.removeprefix(PREFIX), TOKEN, "no-key", text):
        assert hidden and hidden not in numbers.text, hidden
    assert {name for name, _ in numbers.labels()} <= LABELS | {"version", "model", "numeric", "device"}
    assert all(len(value) < 48 and re.fullmatch(r"[\w.:+-]+", value) for _, value in numbers.labels())
    ours = [family for name, family in numbers.families.items() if name.startswith("palimpsest_")]
    assert all(family.documentation.endswith(".") for family in ours)
    told = {re.sub(r"_(?:bucket|count|sum)$", "", sample.name) for family in ours for sample in family.samples}
    of_places = {"checkpoints_shipped", "checkpoint_shipping_failures", "webhooks_told", "webhook_failures"}
    of_witnesses = {"checkpoints_cosigned", "cosigning_failures"}
    listed = set(re.findall(r"^\| `(palimpsest_\w+)`", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == told | {f"palimpsest_{name}_total" for name in of_places | of_witnesses}


async def test_only_the_token_opens_it(database: Database, tmp_path: Path) -> None:
    """Anything but the token gets an empty 401, which is counted; where no token is set it is a 404 like any other."""
    async with housed(database, tmp_path / "shut", metrics_token=TOKEN) as inside:
        for wrong in (None, "", TOKEN[:-1], TOKEN + "x", inside.key, "ü" * 20):
            told = await answer(inside, wrong)
            assert (told.status_code, told.content, told.headers["www-authenticate"]) == (401, b"", "Bearer"), wrong
        told = await inside.client.get("/metrics", headers={"authorization": "", "x-api-key": TOKEN})
        assert told.status_code == 401
        assert (await scraped(inside)).value("unauthenticated_total", cause="metrics_token") == 7
    async with housed(database, tmp_path / "none") as inside:
        told, nowhere = await answer(inside), await inside.client.get("/no/such/place")
        assert (told.status_code, told.content) == (nowhere.status_code, nowhere.content) and told.status_code == 404


async def test_each_end_of_a_generation_has_its_own_number(database: Database, tmp_path: Path) -> None:
    """An answer that the law blocks and one whose engine breaks are told apart; an engine that has ended is down."""
    watched = Watched(tiny())
    async with housed(database, tmp_path, law(), engine=watched, metrics_token=TOKEN) as inside:
        blocked = await inside.ask(max_tokens=4, palimpsest={"mode": "ar", "workflow": "stopped"})
        assert blocked.status_code == 200 and blocked.json()["choices"][0]["finish_reason"] == "content_filter"
        up = await scraped(inside)
        watched._breaks_at = watched._productive + 1
        failed = await inside.ask(palimpsest={"mode": "ar"})
        assert failed.status_code == 503
        await until(lambda: inside.house.seats.taken == 0)
        down = await scraped(inside)
    assert up.by("generations_total", "outcome") == {"blocked": 1} and up.value("engine_up") == 1
    assert down.by("generations_total", "outcome") == {"blocked": 1, "failed": 1} and down.value("engine_up") == 0


async def test_places_outside_are_counted_one_by_one(database: Database, tmp_path: Path) -> None:
    """Checkpoints and events that a place took, and attempts that it did not take, stand under its own name."""
    good, bad = f"file:{tmp_path / 'kept.jsonl'}", "file:/proc/nowhere/kept.jsonl"
    with hook() as place:
        place.statuses = [500, 204]
        told = f"http://127.0.0.1:{place.port}/hook"
        async with housed(
            database, tmp_path / "home", law(), ship_to=f"{good} {bad}", webhooks=told, metrics_token=TOKEN
        ) as inside:
            await asyncio.sleep(1.5)  # a place hears of what comes after its first turn
            await inside.ask(palimpsest={"workflow": "release"})
            await until(lambda: inside.house.webhooks.told()["127.0.0.1"] == 1)

            async def shipped() -> bool:
                numbers = await scraped(inside)
                return len(numbers.by("checkpoints_shipped_total", "place")) == 1

            await until(shipped)
            numbers = await scraped(inside)
    assert numbers.by("webhooks_told_total", "place") == numbers.by("webhook_failures_total", "place") == {"127.0.0.1": 1}
    (taken,), (refused,) = (numbers.by(f"checkpoint{name}_total", "place") for name in ("s_shipped", "_shipping_failures"))
    assert "kept.jsonl" in taken and "nowhere" not in taken and "nowhere" in refused


async def test_two_gateways_in_one_process_share_no_number(database: Database, tmp_path: Path) -> None:
    """What one application counts is in its own numbers alone."""
    async with (
        housed(database, tmp_path / "a", metrics_token=TOKEN) as one,
        housed(database, tmp_path / "b", metrics_token=TOKEN) as other,
    ):
        await one.ask()
        assert (await scraped(one)).by("generations_total", "outcome") == {"delivered": 1}
        assert (await scraped(other)).by("generations_total", "outcome") == {}


async def test_a_stream_is_open_as_long_as_it_lasts(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is read slowly counts as open, with its generation's seat; one that its client left is aborted."""
    async with housed(database, tmp_path, metrics_token=TOKEN) as inside:
        unhurried(inside, monkeypatch)
        app, numbers = create_app(inside.house, ROUTES), inside.house.numbers
        name = inside.house.intake.model.name
        body = {"model": f"{name}:ar", "messages": [{"role": "user", "content": "hello"}], "stream": True, "max_tokens": 400}
        reader = Reader(seconds=0.5)
        asking = asyncio.create_task(reader.ask(app, CHAT, body | {"temperature": 2.0}, inside.key))
        await until(lambda: bool(reader.pieces))
        while_open = await scraped(inside)
        reader.gone.set()
        await asking
        await until(lambda: inside.house.seats.taken == 0)
        after = await scraped(inside)
    assert while_open.value("http_streams_open", dialect="openai.chat") == 1 and while_open.value("http_requests_open") == 2
    assert after.value("http_streams_open", dialect="openai.chat") == 0
    assert numbers.traffic.open == 0 and after.by("generations_total", "outcome") == {"aborted": 1}
