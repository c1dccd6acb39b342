"""A chat's stream keeps its grammar in any chunks, for slow readers, for those who leave, and when things go wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from audit.errors import LogUnavailable
from audit.records import Delivery, PolicyDecision, RequestClose
from engine.gates import Verdict
from gateway.generation import Admitted, Generation
from tests.gateway.asgi import Reader
from tests.gateway.chat_stream import ChatStream
from tests.gateway.housed import CHAT, Housed, housed
from tests.gateway.test_gated import gate
from tests.gateway.tooled import LOOK, WEATHER, tooled
from tests.gateway.watched import unhurried
from tests.postgres_fixtures import Database
from tests.waiting import until

QUESTION: dict[str, Any] = {
    "model": "palimpsest-tiny",
    "messages": [{"role": "user", "content": "How is Rome?"}],
    "temperature": 1.5,
    "seed": 11,
    "max_tokens": 40,
    "stream": True,
}
KINDS: dict[str, dict[str, Any]] = {
    "text": {},
    "usage": {"stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 2},
    "call": {"tools": [WEATHER, LOOK], "tool_choice": "required"},
    "strict": {"tools": [WEATHER]},
    "several": {"n": 2, "stream_options": {"include_usage": True}},
}


@pytest.fixture
async def inside(database: Database, tmp_path: Path) -> AsyncIterator[Housed]:
    """A house whose checkpoint knows tools."""
    async with housed(database, tmp_path, model=tooled()) as running:
        yield running


def reading(**fields: Any) -> ChatStream:
    """The strict reader of such a request's answer."""
    return ChatStream(usage="stream_options" in fields, choices=fields.get("n", 1))


async def test_every_kind_of_stream_keeps_the_grammar(inside: Housed) -> None:
    """Text, usage, log-probabilities, calls and several answers, read in random chunks; all of a whole answer is in them."""
    for number, fields in enumerate(KINDS.values()):
        answer = await inside.client.post(CHAT, json=QUESTION | fields)
        random, data, told = Random(number), answer.content, reading(**fields)
        while data:
            size = random.randint(1, 40)
            told.feed(data[:size])
            data = data[size:]
        told.end()
        plain = {name: value for name, value in (QUESTION | fields).items() if name != "stream_options"}
        whole = (await inside.client.post(CHAT, json=plain | {"stream": False})).json()
        said = [(each.text or None, [call["arguments"] for call in each.calls], each.finish) for each in told.choices]
        assert said == [
            (
                choice["message"]["content"] or None,
                [call["function"]["arguments"] for call in choice["message"].get("tool_calls", ())],
                choice["finish_reason"],
            )
            for choice in whole["choices"]
        ]


async def test_headers_name_the_generation_and_its_records(inside: Housed) -> None:
    """Every answer names its generation, mode, policy and the records it began with; its end names them all."""
    answer = await inside.client.post(CHAT, json=QUESTION)
    told = reading()
    told.feed(answer.content)
    (account,) = told.accounts
    assert answer.headers["x-palimpsest-generation"] == account["generation_id"]
    assert answer.headers["x-palimpsest-mode"] == account["mode"]
    assert answer.headers["x-palimpsest-policy"] == account["policy"]
    first, last = map(int, answer.headers["x-palimpsest-records"].split("-"))
    assert first == account["first_seq"] and last == first + 2 < account["last_seq"]


async def test_a_slow_reader_gets_the_same(inside: Housed) -> None:
    """However slowly a client reads, its stream is the one that a quick client gets, and the records say complete."""
    slow, quick = Reader(seconds=0.05), Reader()
    app, key = inside.app, inside.key
    for reader in (slow, quick):
        told = reading()
        await reader.ask(app, CHAT, QUESTION, key)
        told.feed(reader.data)
        told.end()
        assert told.choices[0].text
    assert told_text(slow) == told_text(quick)
    delivery = inside.log.bodies(UUID(slow.headers["x-request-id"]))[-2]
    assert isinstance(delivery, Delivery) and delivery.bytes_released == len(told_text(slow).encode())


def ended(inside: Housed, generation: UUID) -> bool:
    """Whether the log knows the end of a generation."""
    return isinstance(inside.log.bodies(generation)[-1], RequestClose)


def told_text(reader: Reader) -> str:
    """The text of the first answer of a stream."""
    told = reading()
    told.feed(reader.data)
    return told.choices[0].text


@pytest.mark.parametrize("fields", [{}, KINDS["several"]], ids=["one", "several"])
async def test_who_leaves_stops_the_work(inside: Housed, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves after a few events ends every generation of its request, and their records are complete."""
    unhurried(inside, monkeypatch)
    begun: list[Generation] = []
    begin = inside.house.begin

    def noted(admitted: Admitted) -> Generation:
        begun.append(begin(admitted))
        return begun[-1]

    inside.house.begin = noted  # type: ignore[method-assign]
    reader = Reader(leaves_after=1)
    await reader.ask(inside.app, CHAT, QUESTION | fields | {"max_tokens": 400, "temperature": 2.0}, inside.key)
    assert len(begun) == fields.get("n", 1)
    for generation in begun:
        await until(partial(ended, inside, generation.id))
        bodies = inside.log.bodies(generation.id)
        close, delivery = bodies[-1], bodies[-2]
        assert isinstance(close, RequestClose) and close.records == len(bodies)
        assert isinstance(delivery, Delivery) and delivery.outcome == "aborted" and close.reason == "aborted"


async def test_a_blocked_answer_is_no_error(inside: Housed) -> None:
    """Streamed or whole: 200, our note for a text, content_filter, the usual usage, and not a word of the model's."""
    begin = inside.house.begin

    def gated(admitted: Admitted) -> Generation:
        return begin(replace(admitted, request=replace(admitted.request, gate=gate(Verdict.BLOCK))))

    inside.house.begin = gated  # type: ignore[method-assign]
    answer = await inside.client.post(CHAT, json=QUESTION | {"stream_options": {"include_usage": True}})
    told = ChatStream(usage=True)
    told.feed(answer.content)
    told.end()
    assert (
        answer.status_code == 200 and told.choices[0].finish == "content_filter" and "records say why" in told.choices[0].text
    )
    assert told.accounts[0]["withheld"] == "answer_blocked"
    whole = await inside.client.post(CHAT, json=QUESTION | {"stream": False})
    (choice,) = whole.json()["choices"]
    assert whole.status_code == 200 and choice["finish_reason"] == "content_filter" and whole.json()["usage"] == told.usage
    assert choice["message"]["content"] == told.choices[0].text and whole.json()["palimpsest"]["withheld"] == "answer_blocked"
    for response in (answer, whole):
        delivery = inside.log.bodies(UUID(response.headers["x-request-id"]))[-2]
        assert isinstance(delivery, Delivery) and delivery.bytes_released == 0


async def test_a_proof_that_cannot_be_fetched_is_only_absent(inside: Housed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log that cannot be read for a proof does not cost the answer its end: it closes in order, without the proof."""

    async def unreadable(*_: object) -> None:
        raise LogUnavailable("the reader is down")

    with_proof = QUESTION | {"palimpsest": {"proof": True}}
    assert "proof" in (await inside.client.post(CHAT, json=with_proof | {"stream": False})).json()["palimpsest"]
    monkeypatch.setattr(inside.house.evidence, "proof", unreadable)
    told = reading()
    told.feed((await inside.client.post(CHAT, json=with_proof)).content)
    told.end()
    assert told.done and "proof" not in told.accounts[0]


async def test_what_is_not_served_says_so(inside: Housed) -> None:
    """Embeddings are a clear 400 on record, Claude Code's probe is answered, and both kinds of key header open the door."""
    embedded = await inside.client.post("/v1/embeddings", json={"model": "palimpsest-tiny", "input": "x"})
    assert (embedded.status_code, embedded.json()["error"]["code"]) == (400, "unsupported_endpoint")
    (refusal,) = inside.records(embedded)
    assert isinstance(refusal, PolicyDecision) and (refusal.outcome, refusal.status) == ("refuse", 400)
    for place in ("/api/hello", "/"):  # Claude Code looks at either, by version
        assert (await inside.client.head(place, headers={"authorization": ""})).status_code == 200
    by_key = await inside.client.get("/v1/models", headers={"authorization": "", "x-api-key": inside.key})
    line = by_key.json()["data"][-1]
    assert by_key.status_code == 200 and line["id"].startswith("claude-")
    assert {"id", "object", "created", "owned_by", "type", "display_name", "created_at"} <= set(line)
    served = await inside.client.post(CHAT, json=QUESTION | {"model": "claude-palimpsest-tiny:ar", "stream": False})
    assert served.json()["palimpsest"]["mode"] == "ar" and json.loads(served.content)["model"] == "palimpsest-tiny"
