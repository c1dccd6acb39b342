"""From the log alone: the text is rebuilt, the generation is run again to the last bit, and every verdict is given again."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any
from uuid import UUID

import pytest

from audit.records import Body, Delivery, GateVerdict, RequestOpen
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.request import Mode
from engine.tokenizer import Tokenizer
from engine.train.grammar import Split, task
from gateway.course import recorded_course, told_course
from gateway.replay import the
from tests.engine.harness import asked, output
from tests.gateway.generating import generating, speaking
from tests.gateway.housed import tiny
from tests.gateway.replaying import replayed
from tests.gateway.served import Served
from tests.gateway.tenant_log import TenantLog, output_ids, text_of

QUESTION = task(7_300_000, Split.HELD_OUT).prompt
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ASKED: dict[str, dict[str, Any]] = {
    "drawn": {"temperature": 1.2, "seed": 3},
    "unseeded": {"temperature": 2},
    "stopped": {"temperature": 0, "stop": ["return", "\n    "]},
    "penalised": {
        "temperature": 0.9, "seed": -4, "top_p": 0.95, "top_k": 40, "min_p": 0.02, "presence_penalty": 0.5,
        "frequency_penalty": 0.25, "repetition_penalty": 1.2,
    },
    "shaped": {"temperature": 1, "seed": 9, "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
    "ranked": {"temperature": 0.8, "seed": 1, "logprobs": True, "top_logprobs": 3},
    "tuned": {
        "temperature": 0.7, "seed": 2,
        "palimpsest": {"block_length": 5, "threshold": 0.4, "max_steps": 3, "seed_first": False},
    },
}  # fmt: skip


def answered(bodies: list[Body], words: Tokenizer) -> str:
    """The answer that the records explain: the text of their ids, up to the first stop string."""
    text = text_of(bodies, words)
    cuts = [text.find(stop) for stop in the(RequestOpen, bodies).stop_strings if stop in text]
    return text[: min(cuts, default=len(text))]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("more", ASKED.values(), ids=ASKED)
def test_the_log_alone_gives_the_answer_again(served: Served, mode: Mode, more: dict[str, Any]) -> None:
    """Text, ids, every intermediate state and all totals come out of the stored records, and again out of a fresh engine."""
    body = {"model": f"{served.model}:{mode}", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 64}
    answer = served.post(body | more)
    assert answer.status_code == 200, answer.text
    request = UUID(answer.headers["x-palimpsest-generation"])
    bodies = served.log.bodies(request)
    opening, delivery = the(RequestOpen, bodies), the(Delivery, bodies)
    assert (opening.numeric, opening.weights_digest.hex()) == ("strict", tiny().weights_digest)
    text = answered(bodies, tiny().tokenizer)
    assert text == answer.json()["choices"][0]["message"]["content"]
    data = text.encode()
    assert (delivery.bytes_released, delivery.sha256_released) == (len(data), hashlib.sha256(data).digest())
    again = replayed(tiny(), request, bodies)
    assert output(again) == output_ids(bodies) != ()
    assert told_course(again) == recorded_course(bodies)


def ruled(facts: BlockFacts) -> Ruling:
    """A gate of every verdict: by how sure the block is, by its attempt, and by where it stands."""
    if facts.logprob_min < -9 and facts.start > 40:
        return Ruling(Verdict.HOLD, "gates.minimum")
    if facts.attempt == 0 and facts.confidence_mean is not None and facts.confidence_mean < 0.6:
        return Ruling(Verdict.REFINE, "gates.confidence", threshold=0.5, steps=3)
    if facts.agreement is not None and facts.agreement < 0.9 and facts.attempt < 2:
        return Ruling(Verdict.REDO_AR, "gates.agreement")
    if facts.start > 60:
        return Ruling(Verdict.BLOCK, "gates.length")
    return Ruling(Verdict.ACCEPT)


def facts_of(body: GateVerdict, mode: Mode) -> BlockFacts:
    """What the gate saw, by the record; numbers that count things are whole."""
    whole = {field.name for field in fields(BlockFacts) if field.type == "int"}
    named = zip(body.names, body.values, strict=True)
    values: dict[str, Any] = {name: int(value) if name in whole else value for name, value in named}
    return BlockFacts(index=body.block_index, start=body.start, mode=mode.value, **values)


@pytest.mark.parametrize("mode", list(Mode))
async def test_every_verdict_is_given_again(log: TenantLog, mode: Mode) -> None:
    """A gate that reads nothing but the recorded facts gives each recorded verdict again, and the same course with them."""
    gate = Gate(ruled, frozenset(Verdict))
    request = asked(mode, (1, 200, 300), 96, temperature=1.0, gate=gate, top_logprobs=2)
    async with log.writing() as writer, generating(request, writer) as run:
        await run.task
    bodies = log.bodies(request.id)
    verdicts = [body for body in bodies if isinstance(body, GateVerdict)]
    given = {body.verdict for body in verdicts}
    assert len(given) >= 2 and (mode is not Mode.DIFFUSION or given >= {"accept", "refine", "redo_ar", "hold"})
    for body in verdicts:
        ruling = ruled(facts_of(body, mode))
        assert (ruling.verdict.value, ruling.rule) == (body.verdict, body.rule)
    again = replayed(speaking(), request.id, bodies, gate)
    assert told_course(again) == recorded_course(bodies)
