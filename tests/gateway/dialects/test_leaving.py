"""Clients that leave, read slowly, come back, or do not wait: the work and its records follow what they do."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from audit.records import Delivery, EngineNote, RequestClose
from engine.train.grammar import Split, task
from tests.gateway.dialects.responses_grammar import ResponseReader
from tests.gateway.dialects.wired import RESPONSES, WIRES, Wire, generation_of, headers
from tests.gateway.served import Served
from tests.plain import PLAIN
from tests.waiting import eventually

QUESTION = task(6_100_000, Split.HELD_OUT).prompt
AR: dict[str, Any] = {"palimpsest": {"mode": "ar"}}
LONG = 3000
"""Tokens of an answer that nobody waits for, of a gateway whose answers last as long as they are let."""


def closed(served: Served, generation: UUID) -> tuple[Delivery, RequestClose]:
    """The last two records of a request, once it is closed."""
    eventually(lambda: isinstance(served.log.bodies(generation)[-1], RequestClose))
    *_, delivery, close = served.log.bodies(generation)
    assert isinstance(delivery, Delivery) and isinstance(close, RequestClose)
    return delivery, close


def got(served: Served, path: str, **query: Any) -> httpx.Response:
    """A GET below /v1/responses."""
    url = f"{served.url}/v1/responses/{path}"
    return httpx.get(url, params=query, headers=headers(served), timeout=60, trust_env=False, verify=PLAIN)


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.path)
def test_a_client_that_leaves_stops_the_work(talking: Served, wire: Wire) -> None:
    """Gone in the middle of a stream, it aborts the engine work; delivery and close are on record, complete."""
    with wire.stream(talking, wire.body(talking, QUESTION, LONG, **AR)) as answer:
        next(answer.iter_bytes())
        generation = generation_of(answer)
    delivery, close = closed(talking, generation)
    bodies = talking.log.bodies(generation)
    assert (delivery.outcome, close.reason, close.records) == ("aborted", "aborted", len(bodies))
    assert any(isinstance(body, EngineNote) and body.note == "aborted" for body in bodies)
    assert close.tokens < LONG


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.path)
def test_a_slow_reader_gets_everything(served: Served, wire: Wire) -> None:
    """Taken 61 bytes at a time, the stream is the one of a reader that takes it whole."""
    body = wire.body(served, QUESTION, 64) | {"stream": True}
    whole = wire.reader()
    whole.feed(wire.post(served, body).content)
    reader, place = wire.reader(), urlsplit(served.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    try:
        connection.request("POST", wire.path, httpx.Request("POST", served.url, json=body).content, headers(served))
        answer = connection.getresponse()
        while data := answer.read(61):
            reader.feed(data)
    finally:
        connection.close()
    reader.finish()
    assert reader.text == whole.text != ""


def test_what_was_left_is_told_as_far_as_it_went(talking: Served) -> None:
    """A response whose reader left can be asked for: cancelled, with the text that was released, and read again as a stream."""
    with RESPONSES.stream(talking, RESPONSES.body(talking, QUESTION, LONG, **AR)) as answer:
        reader = ResponseReader()
        for data in answer.iter_bytes():
            reader.feed(data)
            if any(event["type"] == "response.output_text.delta" for event in reader.events):
                break
        generation = generation_of(answer)
    delivery, _ = closed(talking, generation)
    response = f"resp_{generation.hex}"
    document = got(talking, response).json()
    text = "".join(item["content"][0]["text"] for item in document["output"])
    assert document["status"] == "cancelled" and talking.explained(generation).startswith(text)
    assert len(text.encode()) == delivery.bytes_released > 0
    again = ResponseReader(reader.last)
    again.feed(got(talking, response, stream="true", starting_after=reader.last).content)
    again.finish()
    assert again.response == document


def test_work_in_the_background_can_be_cancelled(talking: Served) -> None:
    """Cancelled, it stops and is on record as aborted; a second cancel, and one of a finished response, change nothing."""
    body = RESPONSES.body(talking, QUESTION, LONG, background=True, **AR)
    response = RESPONSES.post(talking, body).json()
    assert response["status"] == "queued"
    url = f"{talking.url}/v1/responses/{response['id']}/cancel"
    cancelled = httpx.post(url, headers=headers(talking), timeout=60, trust_env=False, verify=PLAIN).json()
    assert cancelled["status"] == "cancelled"
    _, close = closed(talking, UUID(hex=response["id"].removeprefix("resp_")))
    assert close.reason == "aborted"
    assert (
        httpx.post(url, headers=headers(talking), timeout=60, trust_env=False, verify=PLAIN).json()
        == cancelled
        == got(talking, response["id"]).json()
    )
    assert (
        httpx.post(url.replace("resp_", "resp_f"), headers=headers(talking), trust_env=False, verify=PLAIN).status_code == 404
    )


def test_a_stream_in_the_background_outlives_its_reader(served: Served) -> None:
    """A reader that leaves stops nothing: it comes back for the rest, while the answer is made or after."""
    body = RESPONSES.body(served, QUESTION, 96, background=True)
    first = ResponseReader()
    with RESPONSES.stream(served, body) as answer:
        first.feed(next(answer.iter_bytes()))
        response = first.events[0]["response"]["id"]
    assert [event["type"] for event in first.events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    rest = ResponseReader(first.last)
    rest.feed(got(served, response, stream="true", starting_after=first.last).content)
    rest.finish()
    assert rest.response is not None and rest.response["status"] == "completed"
    whole = ResponseReader()
    whole.feed(got(served, response, stream="true").content)
    whole.finish()
    assert whole.events[first.last + 1 :] == rest.events and whole.response == got(served, response).json()
