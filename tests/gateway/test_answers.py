"""What a client may ask of its answer, over HTTP: ends, scores, shapes, the automatic mode, and a house that is full."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from audit.records import Alternatives, Delivery, EngineNote, PolicyDecision, RequestClose, RequestOpen, SpecRounds
from engine.train.grammar import Split, task
from tests.faults.clients import asking
from tests.gateway.served import Served, serve
from tests.postgres_fixtures import Database
from tests.waiting import eventually

QUESTION = task(6_100_000, Split.HELD_OUT).prompt
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def asked(served: Served, **more: Any) -> dict[str, Any]:
    """The document that a question earns."""
    body = {"model": served.model, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 96}
    answer = served.post(body | more)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def text_of(document: dict[str, Any]) -> str:
    """The answer's text."""
    text: str = document["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("mode", ["ar", "linear_spec", "quadratic_spec", "diffusion", "auto"])
def test_a_stop_string_ends_the_text(served: Served, mode: str) -> None:
    """Whole or streamed, the text ends right before the first stop string, and the records say how the answer ended."""
    whole = text_of(asked(served, model=f"{served.model}:{mode}"))
    stop = whole[len(whole) // 2 :][:5]
    wanted = whole[: whole.index(stop)]
    document = asked(served, model=f"{served.model}:{mode}", stop=[stop, "never said"])
    assert (text_of(document), document["choices"][0]["finish_reason"]) == (wanted, "stop")
    stream = served.client().chat.completions.create(
        model=f"{served.model}:{mode}",
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=96,
        stop=stop,
        stream=True,
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == wanted
    bodies = served.log.bodies(UUID(document["palimpsest"]["generation_id"]))
    opening, delivery = bodies[0], bodies[-2]
    assert isinstance(opening, RequestOpen) and opening.stop_strings == (stop, "never said")
    assert isinstance(delivery, Delivery) and delivery.bytes_released == len(wanted.encode())


@pytest.mark.parametrize("mode", ["ar", "linear_spec", "quadratic_spec", "diffusion"])
def test_log_probabilities_are_told_and_recorded(served: Served, mode: str) -> None:
    """Each token of the text is scored, whole and streamed alike, with the chosen token among its alternatives."""
    more: dict[str, Any] = {"model": f"{served.model}:{mode}", "logprobs": True, "top_logprobs": 4}
    document = asked(served, **more)
    content = document["choices"][0]["logprobs"]["content"]
    assert b"".join(bytes(token["bytes"]) for token in content).decode() == text_of(document)
    for token in content:
        tops = [other["logprob"] for other in token["top_logprobs"]]
        assert len(tops) == 4 and tops == sorted(tops, reverse=True)
        assert token["logprob"] <= tops[0] + 1e-6
        assert token["logprob"] in tops or token["logprob"] < tops[-1]
    stream = served.client().chat.completions.create(
        messages=[{"role": "user", "content": QUESTION}], temperature=0, max_tokens=96, stream=True, **more
    )
    told = [
        token
        for chunk in stream
        if chunk.choices and chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content or ()
    ]
    assert [(token.token, token.logprob) for token in told] == [(token["token"], token["logprob"]) for token in content]
    bodies = served.log.bodies(UUID(document["palimpsest"]["generation_id"]))
    recorded = sum(len(body.ids) // body.width for body in bodies if isinstance(body, Alternatives))
    assert recorded == document["usage"]["completion_tokens"]


@pytest.mark.parametrize("mode", ["ar", "linear_spec", "quadratic_spec", "auto"])
@pytest.mark.parametrize("temperature", [0, 1])
def test_json_of_the_schema(served: Served, mode: str, temperature: float) -> None:
    """An answer under a schema is JSON of that schema, the same in every causal mode."""
    shape = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    more = {"response_format": shape, "temperature": temperature, "seed": 5, "max_tokens": 256}
    text = text_of(asked(served, model=f"{served.model}:{mode}", **more))
    found = json.loads(text)
    assert found.keys() == {"name", "age"} and len(found["name"]) <= 8 and 0 <= found["age"] <= 99
    assert text == text_of(asked(served, model=f"{served.model}:ar", **more))


def test_a_regex_binds_the_answer(served: Served) -> None:
    """The whole answer matches the regex."""
    assert re.fullmatch("(yes|no), [0-9]{3}", text_of(asked(served, palimpsest={"regex": "(yes|no), [0-9]{3}"})))


def test_a_constrained_diffusion_runs_as_linear_spec(served: Served) -> None:
    """Diffusion cannot hold a constraint; the records say what ran instead, from the decision on."""
    document = asked(served, model=f"{served.model}:diffusion", palimpsest={"regex": "[a-z]{4,9}"})
    assert re.fullmatch("[a-z]{4,9}", text_of(document))
    bodies = served.log.bodies(UUID(document["palimpsest"]["generation_id"]))
    assert {body.mode for body in bodies if isinstance(body, PolicyDecision | RequestOpen)} == {"linear_spec"}
    assert any(isinstance(body, SpecRounds) for body in bodies)


def test_auto_says_what_it_chose(served: Served) -> None:
    """The automatic mode gives the text of `ar`, and the log says which mode it chose at which load."""
    document = asked(served, palimpsest={"mode": "auto"})
    assert text_of(document) == text_of(asked(served, model=f"{served.model}:ar"))
    notes = served.log.bodies(UUID(document["palimpsest"]["generation_id"]))
    assert any(isinstance(body, EngineNote) and body.detail.startswith("auto: linear_spec") for body in notes)


def test_sampling_fields_are_served_and_recorded(served: Served) -> None:
    """Effective sampling values are on record, and three modes give one text under all of them."""
    more = {
        "temperature": 1.3,
        "seed": 11,
        "top_p": 0.9,
        "top_k": 30,
        "min_p": 0.01,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
        "repetition_penalty": 1.25,
    }
    documents = [asked(served, model=f"{served.model}:{mode}", **more) for mode in ("ar", "linear_spec", "quadratic_spec")]
    assert len({text_of(document) for document in documents}) == 1
    opening = served.log.bodies(UUID(documents[0]["palimpsest"]["generation_id"]))[0]
    assert isinstance(opening, RequestOpen)
    assert all(getattr(opening, name) == value for name, value in more.items())


def test_prefixes_are_shared_within_a_tenant(served: Served) -> None:
    """The same prompt again finds its beginning in the cache, and the record says how much."""
    long = QUESTION + " Please." * 30
    for _ in range(2):
        document = asked(served, messages=[{"role": "user", "content": long}], max_tokens=4)
    notes = served.log.bodies(UUID(document["palimpsest"]["generation_id"]))
    prefilled = next(json.loads(body.detail) for body in notes if isinstance(body, EngineNote) and body.note == "prefilled")
    assert prefilled["cached"] >= 32 and prefilled["cached"] % 32 == 0


def test_a_full_house_refuses_and_recovers(database: Database, tmp_path: Path, endless: Path) -> None:
    """Beyond its seats the gateway answers 429 with Retry-After, on record, and takes requests again once seats are free."""
    with serve(database, tmp_path / "home", endless, max_generations="2", numeric="fast") as busy:
        body = {"model": busy.model, "messages": [{"role": "user", "content": "go"}], "temperature": 0, "max_tokens": 3000}
        with asking(busy, "ar", 3000) as first, asking(busy, "ar", 3000) as second:
            assert first.status_code == second.status_code == 200
            refused = [busy.post(body) for _ in range(4)]
        for answer in refused:
            assert answer.status_code == 429 and 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.json()["error"]["code"] == "overloaded"
            (record,) = busy.log.bodies(UUID(answer.headers["x-request-id"]))
            assert isinstance(record, PolicyDecision) and (record.outcome, record.status) == ("refuse", 429)
        eventually(lambda: busy.post(body | {"max_tokens": 1}).status_code == 200, 20)
        opening = _bodies(busy, first)[0]
        assert isinstance(opening, RequestOpen)
        assert opening.numeric == "fast" and opening.dtype in ("bfloat16", "float32")


def _bodies(served: Served, answer: httpx.Response) -> list[Any]:
    """The records of an answer that has been left, once they are closed."""
    generation = UUID(answer.headers["x-palimpsest-generation"])
    eventually(lambda: isinstance(served.log.bodies(generation)[-1], RequestClose), 20)
    return list(served.log.bodies(generation))
