"""The wired house: every part that a request meets, made once per process, started and drained in order.

Start: presence, log, unfinished acts and changes, policies, engine, carrier, reconciler, upkeep. Stop: no new requests, running
generations to their end (or aborted and recorded after `DRAIN_SECONDS`), engine, log, carrier, connections. After `stop()`
every record of this process is committed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

import policies
from audit.errors import AuditError
from audit.header import uuid7
from audit.keys import KeyStore
from audit.ledger import log_origin
from audit.lifecycle import Lifecycle
from audit.readers import Readers
from audit.writer import SYSTEM, Writer
from engine.engine import Engine
from engine.model.checkpoint import LoadedModel
from engine.scheduler import Capacity
from gateway import logs
from gateway.administration import Administration
from gateway.admission import Intake
from gateway.anchoring import Anchoring
from gateway.approvals.approvals import Approvals
from gateway.approvals.attaching import Attaching
from gateway.approvals.attachments import Attachments
from gateway.approvals.desk import Served
from gateway.approvals.opening import Openings
from gateway.approvals.request_key import RequestKeys
from gateway.approvals.webhooks import Webhooks, places
from gateway.background import Background
from gateway.budgets.accounts import Accounts
from gateway.budgets.budgets import Budgets
from gateway.cancelling import Cancelling
from gateway.carrier import Carrier, destinations
from gateway.database import Urls
from gateway.dialects.knob import CLAUDE_ALIAS
from gateway.dialects.responses.document import Head
from gateway.engine_thread import EngineThread
from gateway.errors import EngineDown, LogDown
from gateway.evidence import Evidence
from gateway.export_shelf import ExportShelf
from gateway.generation import Admitted, Generation
from gateway.handover import Handover
from gateway.jobs import Jobs
from gateway.keyring import Keyring
from gateway.law.enactment import Enactment
from gateway.law.lawbook import Lawbook
from gateway.law.reloading import Reloading
from gateway.law.shelf import Shelf
from gateway.listening import named
from gateway.metrics.held import HeldAnswers
from gateway.metrics.instruments import declare
from gateway.metrics.numbers import Numbers
from gateway.on_record import require_keys, writer_config
from gateway.people.directory import Directory
from gateway.people.passkeys import Passkeys
from gateway.presence import Presence
from gateway.projections.bell import Bell
from gateway.projections.projector import Projector
from gateway.projections.views import Views
from gateway.recall import Recall
from gateway.reconcile import Reconciler
from gateway.registry import Registry
from gateway.seats import Seats
from gateway.settings import Settings
from gateway.upkeep import Upkeep
from gateway.witnesses import Witnesses, named_witnesses

DRAIN_SECONDS: Final = 20.0
_log = structlog.get_logger(__name__)


class House:
    """One gateway process; `instance` names it in the log and in the database."""

    hindrance: Exception | None = None
    """Why it did not come up, for whoever started the process."""

    def __init__(self, settings: Settings, urls: Urls, model: LoadedModel, policy: policies.Policy) -> None:
        self.instance: UUID = uuid7()
        self.started = int(time.time())
        self.settings, self.urls = settings, urls
        self.numbers = Numbers()
        self.keys = keys = KeyStore(settings.keys)
        self.readers = Readers(urls.reader)
        engine = Engine(model, settings.numeric, Capacity(waiting=settings.max_generations))
        self.laws = Lawbook(policy)
        self.budgets = Budgets(Accounts(urls.app, self.instance), urls.reader, keys)
        self.intake = Intake(model, self.laws, engine, self.instance, self.budgets)
        self.seats = Seats(settings.max_generations)
        self.registry, self.directory, self.passkeys = Registry(urls.app), Directory(urls.app), Passkeys(urls.app)
        self.jobs = Jobs()
        self.keyring = Keyring(self.registry.find)
        self.writer = Writer(writer_config(settings, urls), self.numbers.commits.heard, logs.signing)
        self.engine = EngineThread(engine)
        self.evidence = Evidence(self.readers, settings.keys, settings.origin, named_witnesses(settings.witnesses))
        self.recall = Recall(urls.reader, keys, model.tokenizer.decode_bytes)
        self.background: Background[Head] = Background()
        self.cancelling = Cancelling(urls.app, self.background)
        self.projector = Projector(urls, keys, policy)
        self.views = Views(urls.app, keys)
        self.bell, self.held = Bell(self.views.queue), HeldAnswers(self.views.held.count)
        weights = bytes.fromhex(model.weights_digest)
        served = Served(weights, model.tokenizer.decode_bytes)
        self.approvals = Approvals(self.writer, urls, keys, self.laws, served, self.projector.look)
        self._openings = Openings(urls.reader, weights)
        self.webhooks = Webhooks(urls, settings.keys, places(settings.webhooks))
        self.carrier = Carrier(settings.keys, destinations(settings.ship_to, settings.keys, os.environ))
        self.witnesses = Witnesses(settings.witnesses, settings.keys, self.evidence, self.registry.tenants)
        self.anchoring = Anchoring(
            self.writer, settings.keys, settings.origin, self.readers, self.evidence, witnessed=bool(settings.witnesses)
        )
        self.lifecycle = Lifecycle(self.writer, urls.app, urls.reader, settings.keys)
        self.administration = Administration(self.writer, urls, settings.keys)
        self.upkeep = Upkeep(urls.app, ExportShelf.of(self).drop_old)
        self._shelf = Shelf(urls.app)
        self.enactment = Enactment(self.lifecycle, self._shelf, policy)
        self._reloading = Reloading(self.laws, self._shelf)
        self._presence = Presence(urls.app, self.instance)
        self.attaching = Attaching(
            RequestKeys(settings.keys), Attachments(urls.app, self.instance), self.recall, self._presence, self.instance
        )
        base_url = settings.base_url or f"http://{named(settings.host, settings.port)}"
        leaving = lambda: self.leaving()  # noqa: E731, PLW0108 - whoever serves the house says later what that means
        self.handover = Handover(self.approvals, self.recall, self.attaching, self.laws, base_url, leaving)
        doubt = 2 * settings.audit_stall_seconds
        self.reconciler = Reconciler(
            self.writer, urls.reader, keys, self._presence, self.instance, lambda: self.writer.healthy, doubt
        )
        self._generations: dict[asyncio.Task[None], Generation] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self.leaving: Callable[[], bool] = lambda: self._draining
        """Whether what lasts for ever should end now."""
        declare(self)

    async def start(self) -> None:
        """Bring everything up; raises what the database or the log raise when they cannot serve."""
        await asyncio.to_thread(self._presence.beat)
        tenants = await asyncio.to_thread(self.registry.tenants)
        await asyncio.to_thread(require_keys, self.settings, self.urls, *tenants)
        await self.writer.start([SYSTEM, *tenants])  # each is read, and held against what was signed
        for tenant in tenants:
            await self.enactment.finish(tenant)
        await self.administration.finish()
        await self._reloading.look()
        self.engine.start()
        self.carrier.start()
        self.witnesses.start()
        self.webhooks.start()
        works = (
            self.reconciler.run(tenants),
            self.upkeep.run(),
            self.anchoring.run(),
            self._reloading.run(),
            self.budgets.run(),
            self.approvals.run(),
            self.projector.run(),
            self.cancelling.run(),
        )
        self._tasks = [asyncio.create_task(work) for work in works]
        _log.info("gateway.started", instance=str(self.instance), model=self.intake.model.name)

    async def stop(self) -> None:
        """Drain and close; safe to call when the database is gone."""
        self._draining = True
        await self._finish_generations()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.engine.stop()
        await asyncio.to_thread(self.jobs.stop)
        try:
            await self.writer.close()
        except AuditError:
            _log.exception("log.close_failed")
        await asyncio.to_thread(self.carrier.stop)
        await asyncio.to_thread(self.witnesses.stop)
        await asyncio.to_thread(self.webhooks.stop)
        of_requests = (self.approvals, self.projector, self.views, self.readers, self._shelf, self.budgets, self.attaching)
        for part in (*of_requests, self._presence, self.registry, self.directory, self.passkeys):
            await asyncio.to_thread(part.close)
        self.numbers.meters.close()
        _log.info("gateway.stopped", instance=str(self.instance))

    def require_open(self) -> None:
        """Raises EngineDown or LogDown when no new request can be taken."""
        if self._draining or not self.engine.alive:
            raise EngineDown("this gateway is stopping or its engine has ended; try again later")
        if not self.upkeep.intact:
            raise LogDown("the database's guards were changed; nothing is served until an operator has looked")

    def begin(self, admitted: Admitted) -> Generation:
        """Steps 4 to 7 of an admitted request start."""
        decode = self.intake.model.tokenizer.decode_bytes
        return self.follow(Generation(admitted, self.engine, self.writer, decode, self.reconciler.orphan, self._openings))

    def follow(self, generation: Generation) -> Generation:
        """It runs in a task of its own, which outlives its client and gives back what the request holds, its seat too."""
        task = asyncio.create_task(generation.run())
        self._generations[task] = generation
        task.add_done_callback(self._ended)
        return generation

    async def check(self) -> dict[str, bool]:
        """Readiness of each part."""
        return {
            "log": self.writer.healthy and self.upkeep.intact,
            "database": await self._database_answers(),
            "keys": await asyncio.to_thread(self.keys.at_hand),
            "engine": self.engine.alive and not self._draining,
        }

    def origin(self, tenant: str) -> str:
        """The name under which a tenant's log is signed."""
        return log_origin(self.settings.origin, tenant)

    def model_ids(self, tenant: str) -> list[str]:
        """The model, it with each mode that the tenant's policy permits, then all of them as Claude Code accepts them."""
        name = self.intake.model.name
        names = [name, *(f"{name}:{mode.value}" for mode in self.laws.active(tenant).document.modes.choices)]
        return [*names, *(CLAUDE_ALIAS + each for each in names)]

    def _ended(self, task: asyncio.Task[None]) -> None:
        generation = self._generations.pop(task)
        self.numbers.work.ended(generation)
        admitted = generation.admitted
        admitted.lease.drop()
        admitted.claim.drop()
        self.seats.leave()

    async def _finish_generations(self) -> None:
        if self._generations:
            await asyncio.wait(list(self._generations), timeout=DRAIN_SECONDS)
        for generation in list(self._generations.values()):
            generation.leave()
        if self._generations:
            await asyncio.wait(list(self._generations), timeout=DRAIN_SECONDS)

    async def _database_answers(self) -> bool:
        try:
            await asyncio.to_thread(self.registry.tenants)
        except SQLAlchemyError:
            return False
        return True
