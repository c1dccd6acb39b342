"""One generation at a time over a real engine and a real log, with a door or a fault between it and the log."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import torch

import policies
from audit.errors import AuditError
from audit.records import Body, RequestClose
from audit.writer import Entry, Range, Writer
from engine.engine import Engine
from engine.model.checkpoint import LoadedModel
from engine.request import GenerationRequest
from gateway.appending import Log
from gateway.approvals.opening import Openings
from gateway.engine_thread import EngineThread, Stepper
from gateway.generation import Admitted, Generation
from gateway.law.hearing import Law
from gateway.pieces import Made, Text
from gateway.release import ReleaseRule
from gateway.settings import DatabaseUrl
from policies import Release
from tests.audit.writer_samples import TENANT
from tests.engine.harness import loaded, model, tokenizer
from tests.engine.small import small_network
from tests.gateway.tenant_log import CALLER, WEIGHTS, opened
from tests.gateway.watched import started
from tests.policies.facts import PLAIN
from tests.waiting import until

INSTANCE = uuid4()


def speaking() -> LoadedModel:
    """A random model whose ids are those of the tokenizer, so that its answers are text (and broken UTF-8)."""
    return model(0, tokenizer().size)


def damaged(token: int) -> LoadedModel:
    """The same with one embedding that gives no numbers."""
    network = small_network(0, tokenizer().size)
    with torch.no_grad():
        network.embed_tokens.weight[token] = torch.nan
    return loaded(network)


def text_of(ids: Iterable[int]) -> str:
    """What a client may have seen once these ids are committed: their text without an unfinished character."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(tokenizer().decode_bytes(ids))


def openings(writer: Writer, weights: bytes = WEIGHTS) -> Openings:
    """Opens approvals in the log that this writer writes."""
    return Openings(DatabaseUrl(writer._config.reader_url), weights)


def closes(entries: Sequence[Entry]) -> bool:
    """Whether these records end their request."""
    return any(isinstance(entry.body, RequestClose) for entry in entries)


@dataclass
class Held:
    """The real writer behind a door: each append commits when it is let in; `look` is called around every moment of it."""

    writer: Log
    look: Callable[[Sequence[Entry]], None] = lambda entries: None
    waiting: bool = False
    committed: list[Body] = field(default_factory=list)
    lingers: list[float] = field(default_factory=list)
    """How long each append might have waited for others."""
    _door: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def append(self, entries: Sequence[Entry], linger: float = 0.0) -> Range:
        self.look(entries)
        self.lingers.append(linger)
        self.waiting = True
        await self._door.acquire()
        self.look(entries)
        place = await self.writer.append(entries, linger)
        self.look(entries)
        self.committed += [entry.body for entry in entries]
        return place

    def hurry(self, linger: float = 0.0) -> None:
        self.writer.hurry(linger)

    async def let_in(self, run: Running) -> None:
        """Wait for an append (or for the generation's end) and let it commit."""
        await until(lambda: self.waiting or run.task.done())
        self.waiting = False
        self._door.release()

    async def let_all_in(self, run: Running) -> None:
        """Let one append after the other in until the generation has ended."""
        while not run.task.done():
            await self.let_in(run)
        await run.task


@dataclass
class Failing:
    """The real writer, but for the appends that `trouble` names an error for, by their number from 0 and what they hold."""

    writer: Log
    trouble: Callable[[int, Sequence[Entry]], AuditError | None]
    appends: int = 0
    failed: int = 0

    async def append(self, entries: Sequence[Entry], linger: float = 0.0) -> Range:
        number, self.appends = self.appends, self.appends + 1
        error = self.trouble(number, entries)
        if error is not None:
            self.failed += 1
            raise error
        return await self.writer.append(entries, linger)

    def hurry(self, linger: float = 0.0) -> None:
        self.writer.hurry(linger)


@dataclass
class Running:
    """A generation in its task, its log, and what its client has got so far."""

    generation: Generation
    task: asyncio.Task[None]
    engine: EngineThread
    orphans: list[tuple[str, UUID]]
    pieces: list[Made]

    def text(self) -> str:
        """All text that has been handed out."""
        outlet = self.generation.outlet._pieces
        while not outlet.empty():
            self.pieces.append(outlet.get_nowait())
        return "".join(piece.text for piece in self.pieces if isinstance(piece, Text))

    def last(self) -> Made:
        """The last piece, which says how it ended."""
        self.text()
        assert all(isinstance(piece, Text) for piece in self.pieces[:-1])
        return self.pieces[-1]


@asynccontextmanager
async def generating(
    request: GenerationRequest,
    writer: Writer,
    log: Log | None = None,
    engine: Stepper | None = None,
    release: ReleaseRule = ReleaseRule.STREAM,
    capacity: int = 1024,
) -> AsyncIterator[Running]:
    """A request that has been admitted and begins to run; `log` stands between it and the writer."""
    policy = policies.load(policies.BASELINE)
    decision = policies.decide(policy, PLAIN)
    assert isinstance(decision, policies.Decision)
    place = await opened(writer, request, INSTANCE, release.value, bytes(policy.digest))
    admitted = Admitted(
        request=request,
        tenant=TENANT,
        caller=CALLER,
        model="random",
        law=Law(policy, replace(decision, release=Release(release.value))),
        records=3,
        first_seq=place.first_seq,
        last_seq=place.last_seq,
    )
    orphans: list[tuple[str, UUID]] = []
    async with started(engine or Engine(speaking()), capacity) as thread:
        tell = lambda tenant, own: orphans.append((tenant, own))  # noqa: E731 - a stand-in for the reconciler's ear
        generation = Generation(admitted, thread, log or writer, tokenizer().decode_bytes, tell, openings(writer))
        yield Running(generation, asyncio.create_task(generation.run()), thread, orphans, [])
