"""What admission asks of the engine and what it records are one thing, and it is what the tenant and the policy permit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

import policies
from audit.header import uuid7
from audit.keys import KeyStore
from audit.records import EngineNote, PolicyDecision, PromptBody, RequestOpen
from audit.writer import Writer
from engine.engine import Engine
from gateway.admission import Intake, admit
from gateway.authenticate import Subject
from gateway.budgets.accounts import Accounts
from gateway.budgets.budgets import Budgets
from gateway.dialects.openai_chat import decode
from gateway.generation import Admitted
from gateway.law.lawbook import Lawbook
from gateway.replay import recorded_request, the
from gateway.settings import DatabaseUrl
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import Housed, housed, tiny
from tests.gateway.planted import plant_key, plant_tenant
from tests.gateway.tenant_log import TenantLog
from tests.policies import documents
from tests.postgres_fixtures import Database

QUESTION: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
NAMES = {"type": "object", "properties": {"name": {"type": "string"}}}
ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "seeded": {"seed": -1, "temperature": 0, "max_tokens": 3},
    "sampled": {
        "seed": 2**64 - 1, "temperature": 2, "top_p": 0.3, "top_k": 7, "min_p": 0.125, "presence_penalty": -2,
        "frequency_penalty": 2, "repetition_penalty": 0.3,
    },
    "tuned": {"palimpsest": {"mode": "diffusion", "block_length": 3, "threshold": 0.3, "max_steps": 5, "seed_first": False}},
    "causal": {"palimpsest": {"mode": "auto", "block_length": 32}},
    "ended": {"stop": ["é", "\n\n"], "logprobs": True, "top_logprobs": 20},
    "shaped": {"palimpsest": {"mode": "ar", "regex": "[a-zé]+"}},
}  # fmt: skip
STRICTER = """
schema = "palimpsest.policy/1"
tenant = "acme"
inherit = "baseline"

[modes]
allowed = ["ar", "diffusion"]
default = "diffusion"

[modes.diffusion]
block_length = { default = 8, least = 4, most = 16 }
threshold = { default = 0.8, least = 0.5, most = 0.95 }
max_steps = { default = 8, least = 2, most = 8 }
seed_first = { default = true, client_may_set = false }

[limits]
default_max_tokens = 32
max_tokens = 64
"""


def stricter(folder: Path) -> policies.Policy:
    """A policy of `acme` that permits two modes and clamps every knob."""
    file = folder / "acme.toml"
    file.write_text(STRICTER, encoding="utf-8")
    return policies.load(file)


async def admitted(policy: policies.Policy, writer: Writer, tenant: str = TENANT, **fields: Any) -> Admitted:
    """A request that has been judged under the policy and recorded."""
    place = writer._config
    budgets = Budgets(Accounts(DatabaseUrl(place.app_url), UUID(int=7)), DatabaseUrl(place.reader_url), KeyStore(place.keys))
    intake = Intake(tiny(), Lawbook(policy), Engine(tiny()), UUID(int=7), budgets)
    chat = decode(msgspec.json.encode({"model": tiny().name, "messages": QUESTION} | fields))
    return await admit(intake, writer, Subject(tenant, "key-1"), chat, uuid7())


@pytest.mark.parametrize("tenant", [TENANT, "other"])
async def test_the_salt_of_the_cache_is_the_tenant(log: TenantLog, tenant: str) -> None:
    """What prompts share their prefixes under is the name of the tenant whose key came with them, and nothing else."""
    async with log.writing(tenant) as writer:
        found = await admitted(policies.load(policies.BASELINE), writer, tenant)
    assert (found.tenant, found.request.cache_salt) == (tenant, tenant)


def cached(inside: Housed, answer: httpx.Response) -> int:
    """How many tokens of its prompt a request found in the cache, by its records."""
    (note,) = (body for body in inside.records(answer) if isinstance(body, EngineNote) and body.note == "prefilled")
    return int(json.loads(note.detail)["cached"])


async def test_a_prompt_of_another_tenant_is_not_found(database: Database, tmp_path: Path) -> None:
    """A prompt that another tenant has sent just before is computed anew; one's own is found."""
    async with housed(database, tmp_path) as inside:
        question = "tell me a story " * 20
        plant_tenant(database.app_url, "other")
        stranger = plant_key(database.app_url, "other").text
        assert (await inside.ask(question, key=stranger)).status_code == 200
        assert cached(inside, await inside.ask(question)) == 0
        assert cached(inside, await inside.ask(question)) >= 32


@pytest.mark.parametrize("fields", ASKED.values(), ids=ASKED)
async def test_what_runs_is_what_is_recorded(log: TenantLog, tmp_path: Path, fields: dict[str, Any]) -> None:
    """The request that the engine gets can be read back from request.open and prompt.body, value for value."""
    for policy in (policies.load(policies.BASELINE), stricter(tmp_path)):
        async with log.writing() as writer:
            found = await admitted(policy, writer, **fields)
        bodies = log.bodies(found.request.id)
        assert [type(body) for body in bodies] == [RequestOpen, PromptBody, PolicyDecision]
        assert replace(recorded_request(found.request.id, bodies), cache_salt=TENANT) == found.request
        assert (found.records, found.last_seq - found.first_seq) == (3, 2)
        decision = the(PolicyDecision, bodies)
        assert (decision.outcome, decision.policy_digest) == ("allow", bytes(policy.digest))


async def test_the_recorded_values_are_those_that_the_policy_left(log: TenantLog, tmp_path: Path) -> None:
    """Wishes beyond the policy's ranges are recorded as they were granted, with the rule that cut each."""
    wishes = {"block_length": 32, "threshold": 0.1, "max_steps": 1, "seed_first": False}
    async with log.writing() as writer:
        found = await admitted(stricter(tmp_path), writer, max_tokens=4000, palimpsest=wishes)
    opening, decision = the(RequestOpen, log.bodies(found.request.id)), the(PolicyDecision, log.bodies(found.request.id))
    granted = (opening.block_length, opening.threshold, opening.max_steps, opening.seed_first, opening.max_tokens)
    assert granted == (16, 0.5, 2, True, 64)
    assert (opening.mode, opening.modes_permitted) == ("diffusion", ("ar", "diffusion"))
    assert {rule for rule in decision.rules if rule.startswith("clamp:")} == {
        "clamp:block_length", "clamp:threshold", "clamp:max_steps", "clamp:seed_first", "clamp:max_tokens",
    }  # fmt: skip


async def test_an_answer_is_cut_to_the_context(log: TenantLog) -> None:
    """Where the prompt leaves less room than the policy permits, the room that is left is recorded."""
    question = [{"role": "user", "content": "word " * 400}]
    async with log.writing() as writer:
        found = await admitted(policies.load(policies.BASELINE), writer, messages=question, max_tokens=4096)
    opening = the(RequestOpen, log.bodies(found.request.id))
    assert opening.prompt_tokens + opening.max_tokens == tiny().config.max_position_embeddings


@pytest.mark.parametrize(
    "shape",
    [
        {"palimpsest": {"regex": "[a-z]+"}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": NAMES}}},
    ],
    ids=["regex", "object", "schema"],
)
async def test_constrained_diffusion_needs_linear_spec(database: Database, tmp_path: Path, shape: dict[str, Any]) -> None:
    """Diffusion cannot hold a constraint; where its stand-in is not permitted that is a 400, on record, and nothing runs."""
    async with housed(database, tmp_path, stricter(tmp_path)) as inside:
        answer = await inside.ask(**shape)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
        assert "linear_spec, which is not permitted" in error["message"]
        (refusal,) = inside.records(answer)
        assert isinstance(refusal, PolicyDecision) and (refusal.outcome, refusal.status) == ("refuse", 400)
        assert error["message"] in refusal.reason and inside.house.intake.engine.idle()
        name = inside.house.intake.model.name
        assert (await inside.ask(**shape, model=f"{name}:ar")).status_code == 200
        assert (await inside.ask()).status_code == 200


async def test_a_constraint_meets_the_rules_of_what_runs(database: Database, tmp_path: Path) -> None:
    """A constrained request for diffusion is decided, blocked and recorded as the linear_spec that it runs as."""
    rule = '[[rules]]\nid = "no-spec"\nphase = "release"\nwhen = { mode = ["linear_spec"] }\naction = "block"\n'
    async with housed(database, tmp_path, documents.policy(rule)) as inside:
        for knob in ({"mode": "linear_spec"}, {"mode": "diffusion", "regex": "(.|\\n)*"}):
            answer = await inside.ask(palimpsest=knob)
            assert answer.json()["choices"][0]["finish_reason"] == "content_filter", knob
            decision, opening = the(PolicyDecision, inside.records(answer)), the(RequestOpen, inside.records(answer))
            assert decision.mode == opening.mode == "linear_spec" and decision.release == "whole"
        free = await inside.ask(palimpsest={"mode": "diffusion"})
        assert free.json()["choices"][0]["finish_reason"] != "content_filter"
