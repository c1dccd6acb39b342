"""Generations by the real admission, generation and log over an engine that makes up its figures: thousands are cheap."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from audit.keys import KeyStore
from audit.writer import Writer
from engine import gates
from engine.engine import Engine
from engine.events import Event, FinishReason, Gated, RunDecoded
from engine.request import GenerationRequest
from gateway.admission import Intake, admit, record_refusal
from gateway.authenticate import Subject
from gateway.budgets.accounts import Accounts
from gateway.budgets.budgets import Budgets
from gateway.dialects.openai_chat import decode
from gateway.engine_thread import EngineThread
from gateway.errors import GatewayError
from gateway.generation import Generation
from gateway.law.lawbook import Lawbook
from gateway.settings import DatabaseUrl
from gateway.testimony import Tally
from policies import Policy
from tests.audit.writer_samples import TENANT
from tests.gateway.generating import openings
from tests.gateway.housed import tiny
from tests.gateway.watched import started
from tests.policies import traffic

LETTERS = range(200, 260)
SUBJECT = Subject(TENANT, "key-1")


class Cheap:
    """What the engine's thread drives: each request ends in one step, its units drawn by the seed of the request."""

    def __init__(self) -> None:
        self._waiting: list[GenerationRequest] = []
        self._came = threading.Event()

    def submit(self, request: GenerationRequest) -> None:
        """As the engine."""
        self._waiting.append(request)
        self._came.set()

    def abort(self, generation: UUID) -> None:
        """Nothing is left to abort."""

    def wait(self, timeout: float) -> None:
        """Until a request comes."""
        self._came.wait(timeout)
        self._came.clear()

    def step(self) -> list[Event]:
        """All that waits, to its end."""
        waiting, self._waiting = self._waiting, []
        return [event for request in waiting for event in self.told(request)]

    def told(self, request: GenerationRequest) -> Iterator[Event]:
        """The events of one request, drawn by its seed."""
        return drawn(request)


def drawn(request: GenerationRequest) -> Iterator[Event]:
    """The events of one request, drawn by its seed."""
    random, tally, reason, position = Random(request.sampling.seed), Tally(), FinishReason.STOP, len(request.prompt)
    for index, facts in enumerate(_units(request, random)):
        ruling = gates.Ruling(gates.Verdict.ACCEPT) if request.gate is None else request.gate.judge(facts)
        again = ruling.verdict in (gates.Verdict.REFINE, gates.Verdict.REDO_AR)
        output = tuple(random.choice(LETTERS) for _ in range(0 if again else facts.tokens))
        run = RunDecoded(request.id, position, output, (-0.5,) * len(output), facts.steps)
        tally.count(run)
        position += len(output)
        yield run
        if request.gate is not None:
            yield gated(request.id, index, facts, ruling)
        if ruling.verdict is gates.Verdict.BLOCK:
            reason = FinishReason.BLOCKED
            break
    yield tally.finished(request.id, len(request.prompt), reason)


def _units(request: GenerationRequest, random: Random) -> Iterator[gates.BlockFacts]:
    """Units as they might come: a block that is turned down comes again."""
    for index in range(random.randrange(1, 5)):
        mode = request.mode.value if request.mode.value in ("ar", "diffusion") else random.choice(("ar", "linear_spec"))
        for attempt in range(random.randrange(1, 3)):
            unit = traffic._unit(random, index, mode, attempt if mode == "diffusion" else 0, random.random() < 0.3)
            yield gates.BlockFacts(**asdict(unit))


def gated(generation: UUID, index: int, facts: gates.BlockFacts, ruling: gates.Ruling) -> Gated:
    """What the gate saw and ruled, as an event."""
    figures = facts.figures()
    return Gated(
        generation, index, facts.start, tuple(figures), tuple(figures.values()), ruling.verdict, ruling.rule, facts.mode,
        ruling.threshold, ruling.steps,
    )  # fmt: skip


async def make(policy: Policy, writer: Writer, count: int, seed: int = 7) -> None:
    """`count` requests of any kind under a policy, each recorded to its end."""
    random, place, ours = Random(seed), writer._config, UUID(int=7)
    budgets = Budgets(Accounts(DatabaseUrl(place.app_url), ours), DatabaseUrl(place.reader_url), KeyStore(place.keys))
    intake = Intake(tiny(), Lawbook(policy), Engine(tiny()), ours, budgets)
    bodies = [msgspec.json.encode(_body(random)) for _ in range(count)]
    room = asyncio.Semaphore(64)
    async with started(Cheap()) as thread:
        await asyncio.gather(
            *(_one(intake, writer, thread, room, UUID(int=seed << 64 | at), body) for at, body in enumerate(bodies))
        )


async def _one(
    intake: Intake, writer: Writer, thread: EngineThread, room: asyncio.Semaphore, request: UUID, body: bytes
) -> None:
    async with room:
        try:
            admitted = await admit(intake, writer, SUBJECT, decode(body), request)
        except GatewayError as error:
            await record_refusal(intake, writer, SUBJECT, request, error)
            return
        words, weights = intake.model.tokenizer.decode_bytes, bytes.fromhex(intake.model.weights_digest)
        await Generation(
            admitted,
            thread,
            writer,
            words,
            lambda tenant, own: None,
            openings(writer, weights),
        ).run()


def _body(random: Random) -> dict[str, Any]:
    some = partial(random.choice)
    knob = {
        "mode": some((None, None, "ar", "diffusion", "auto", "quadratic_spec", "telepathy")),
        "workflow": some(traffic.WORKFLOWS),
        "risk": some((None, "low", "medium", "high", "hihg")),
        "latency_target_ms": some((None, 200, 5000)),
        "block_length": some((None, 8, 99)),
        "threshold": some((None, 0.3, 0.9)),
    }
    asked = {"max_tokens": some((None, 5, 10**30)), "seed": random.getrandbits(63)}
    return {"model": tiny().name, "messages": [{"role": "user", "content": "hello"}], "palimpsest": knob} | asked
