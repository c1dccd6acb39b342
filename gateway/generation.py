"""One generation's own task: steps 4 to 7 of the straight line.

It takes the engine's events, has them recorded, and only then hands their ids to release. The client is a subscriber:
when it leaves, the engine work is aborted and what happened is still recorded to the end. If the log cannot commit, nothing
more is released and the request is left to the reconciler, which ends it once the log is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

import structlog
from opentelemetry import trace

from audit.approvals import ApprovalOpened
from audit.errors import AuditError
from audit.records import Body, EngineNote
from audit.writer import Entry
from engine.errors import Busy, InvalidRequest
from engine.events import Event, Finished, FinishReason, Gated, Prefilled
from engine.gates import Verdict
from engine.request import GenerationRequest
from gateway.appending import Haste, Log, append_when_room
from gateway.approvals.claim import UNCLAIMED, Claim
from gateway.approvals.opening import HeldAnswer, OpensApprovals
from gateway.budgets.lease import UNMETERED, Lease
from gateway.calls import AnswerReader
from gateway.dialects.request import Delivery
from gateway.engine_thread import READ_ALONG, READ_AT_THE_END, EngineDied, EngineThread, Feed, Patience
from gateway.errors import BadRequest, EngineDown, GatewayError, LogDown, Overloaded, Withheld
from gateway.law.called import calls_read
from gateway.law.hearing import Heard, Hearing, Law
from gateway.pieces import Account, Held
from gateway.release import DurableTokens, Outcome, Outlet, Release, ReleaseRule
from gateway.scores import Scorer, Unscored
from gateway.seats import UNKNOWN_SECONDS
from gateway.testimony import Statement, Tally, attest, close
from policies import Action

COMPLETE: Final = (FinishReason.STOP, FinishReason.LENGTH)
JUDGED: Final = (*COMPLETE, FinishReason.BLOCKED)
"""Ends of an answer that came to its end by itself, or by the gate."""
WITHHOLDING: Final = frozenset({Verdict.HOLD, Verdict.BLOCK})
"""Verdicts that keep an answer from its client."""
MAY_WITHHOLD: Final = WITHHOLDING | {Verdict.REFINE}
"""Verdicts that do, or may turn into one that does: a block refined too often is held."""
_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("palimpsest.gateway")


class End(StrEnum):
    """What became of an admitted request, for whoever counts; a held answer may still be let go."""

    DELIVERED = "delivered"
    HELD = "held"
    BLOCKED = "blocked"
    REFUSED = "refused"
    """The engine did not begin it."""
    ABORTED = "aborted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may run under its law: its opening records are durable from `first_seq` to `last_seq`."""

    request: GenerationRequest
    tenant: str
    caller: str
    model: str
    law: Law
    records: int
    first_seq: int
    last_seq: int
    lease: Lease = UNMETERED
    claim: Claim = UNCLAIMED
    reader: AnswerReader = field(default_factory=lambda: AnswerReader((), ""))
    """Reads the answer for its judge; used once."""
    contributors: tuple[str, ...] = ()
    """Persons whose hands touched the request: the owner of its key."""
    delivery: Delivery = Delivery.STREAM
    """How the client asked to be told."""
    scored: bool = True
    """Whether the client is told of single tokens."""

    @property
    def policy_digest(self) -> bytes:
        """The policy that judges this request to its end."""
        return bytes(self.law.policy.digest)

    @property
    def rule(self) -> ReleaseRule:
        """When text may leave. Nothing streams while a gate of the request may still rule against it."""
        gate = self.request.gate
        settled = gate is None or gate.verdicts.isdisjoint(MAY_WITHHOLD)
        return ReleaseRule(self.law.decision.release.value) if settled else ReleaseRule.WHOLE

    @property
    def patience(self) -> Patience:
        """How long its events may wait to be recorded: longer if nothing can leave before the end."""
        whole = self.rule is ReleaseRule.WHOLE or self.delivery is Delivery.WHOLE
        return READ_AT_THE_END if whole else READ_ALONG

    def entry(self, body: Body) -> Entry:
        """One record of this request, ready to be appended."""
        return Entry(self.tenant, self.request.id, self.caller, self.policy_digest, body)


class Generation:
    """Follows one admitted request to its end; `outlet` is where the client listens."""

    def __init__(
        self,
        admitted: Admitted,
        engine: EngineThread,
        log: Log,
        decode_bytes: Callable[[tuple[int, ...]], bytes],
        orphan: Callable[[str, UUID], None],
        approvals: OpensApprovals,
    ) -> None:
        """`orphan(tenant, request)` is told of a request that could not be ended because the log was down."""
        self.admitted = admitted
        self.id = admitted.request.id
        self.outlet = Outlet()
        self.end = End.FAILED  # unless it is closed
        self.finished: Finished | None = None
        self._engine = engine
        self._append_to_log = log
        self._orphan = orphan
        self._approvals = approvals
        request = admitted.request
        self._release = Release(admitted.rule, self.outlet, request.stop_strings)
        self._said = (Scorer(decode_bytes, len(request.prompt)) if admitted.scored else Unscored(decode_bytes)).said
        self._begun: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._hearing = Hearing(admitted.law)
        self._tally = Tally()
        self._records = admitted.records
        self._first_seq, self._last_seq = admitted.first_seq, admitted.last_seq
        self._answer = ""
        self._left = False
        self._cached: int | None = None

    async def begun(self) -> bool:
        """True once the engine has taken the request; False if that never happens, and then the outlet says why."""
        return await asyncio.shield(self._begun)

    def leave(self) -> None:
        """The client is gone: stop the engine work; the records still come to their end."""
        if not self._left:
            self._left = True
            self._release.client_left()
            self._engine.abort(self.id)

    async def run(self) -> None:
        """Steps 4 to 7; returns when the request is closed in the log, or left to the reconciler."""
        # Never the exception itself: what it says is for our own log, and a span may leave the house.
        with _tracer.start_as_current_span("generation", record_exception=False, set_status_on_exception=False) as span:
            span.set_attribute("palimpsest.generation", str(self.id))
            span.set_attribute("palimpsest.mode", self.admitted.request.mode.value)
            try:
                await self._serve()
            except AuditError as error:
                _log.warning("generation.unrecorded", generation=str(self.id), error=type(error).__name__)
                self._give_up(LogDown("the audit log cannot commit, so no more text may be released; try again later"))
            except Exception:  # noqa: BLE001 - the boundary between one generation and the house
                _log.exception("generation.failed", generation=str(self.id))
                self._give_up(EngineDown("the gateway failed while serving this request; its id is in the headers"))
            finally:
                self._engine.unfollow(self.id)
                if not self._begun.done():
                    self._begun.set_result(False)
                span.set_attribute("palimpsest.outcome", self.end.value)

    async def _serve(self) -> None:
        """The request is open in the log, so it is closed there whatever the engine says to it."""
        told: GatewayError | None = None
        last: Sequence[Event] = ()
        try:
            feed = await self._engine.submit(self.admitted.request, self.admitted.patience, self._hurry)
            self._begun.set_result(True)
            if self._left:
                self._engine.abort(self.id)
            finished, last = await self._follow(feed)
        except (InvalidRequest, Busy) as error:
            told = _turned_away(error)
            finished = await self._note_end("refused", f"{type(error).__name__}: {told.message}")
        except (EngineDied, EngineDown) as error:
            _log.error("generation.fault", generation=str(self.id), error=type(error).__name__)
            finished = await self._note_end("fault", type(error).__name__)
        await self._close(finished, last, told)

    async def _follow(self, feed: Feed) -> tuple[Finished, Sequence[Event]]:
        """Steps 4, 5 and 6, until the engine says that it is done.

        The last events of an answer that streams are left for its closing; a whole one is on record before it is judged.
        """
        streams = self.admitted.rule is ReleaseRule.STREAM
        while True:
            events = await feed.take()
            end = events[-1]
            if streams and isinstance(end, Finished) and end.reason in JUDGED:
                return end, events
            await self._append(self._attested(events), Haste.AWAITED if isinstance(end, Finished) else Haste.RUNNING)
            self._obey(events)
            self._release.durable(DurableTokens(self._said(events)))
            if isinstance(end, Finished):
                return end, ()

    def _obey(self, events: Sequence[Event]) -> None:
        """A verdict against the answer closes the release before any text that came with it."""
        if any(isinstance(event, Gated) and event.verdict in WITHHOLDING for event in events):
            self._release.withhold()

    def _attested(self, events: Sequence[Event]) -> list[Statement]:
        """Step 5: the records that explain these events."""
        self.admitted.lease.running()
        statements = attest(events)
        self._hearing.hear(statement.body for statement in statements)
        for event in events:
            self._tally.count(event)
            if isinstance(event, Prefilled) and self._cached is None:
                self._cached = event.cached
        return statements

    async def _note_end(self, note: str, detail: str) -> Finished:
        """The engine does not take this request or cannot go on with it: say so in the log and count what it had done."""
        await self._append([Statement(self.id, EngineNote(note, detail))])
        return self._tally.finished(self.id, len(self.admitted.request.prompt), FinishReason.FAULT)

    async def _close(self, finished: Finished, last: Sequence[Event], told: GatewayError | None) -> None:
        """Step 7: what the engine said last, verdict, delivery and close in one commit, then the last text and the end.

        `told`: why none came.
        """
        statements = self._attested(last)
        self._obey(last)
        self._release.ending(self._said(last))
        heard = self._judge(finished) if finished.reason in JUDGED else None
        outcome = self._outcome(heard)
        if outcome is Outcome.COMPLETE:
            self._release.approve()
        if heard is not None and heard.verdict is Action.HOLD:
            await self._append(statements)  # of their own, since an approval is bound to records that made the answer
            statements = []
        statements += [] if heard is None else [Statement(self.id, heard.body)]
        statements.append(Statement(self.id, self._release.delivery(outcome)))
        opened = await self._opened(heard)
        held = [] if opened is None else [Statement(self.id, opened)]
        await self._append([*statements, close(finished, self._records + len(statements) + 1), *held])
        self.end, self.finished = self._end(finished, heard, told), finished
        await self.admitted.lease.settle(finished)
        await self.admitted.claim.end(None if opened is None else opened.expires_at)
        if opened is not None:
            self._release.hold(Held(self.admitted.tenant, self.id, opened))
        elif heard is not None and heard.verdict.stops:
            self._release.fail(Withheld("the policy blocked this answer; its records say why", code="answer_blocked"))
        elif heard is not None:
            self._release.end(self._account(finished, heard))
        else:
            early = EngineDown(f"the generation ended early ({finished.reason.value}); try again")
            self._release.fail(told or early)

    def _judge(self, finished: Finished) -> Heard:
        """The verdict on the whole answer, whose tool calls are read as its client would read them."""
        self._answer = self._release.whole()
        return self._hearing.judge(finished.forwards, calls_read(self.admitted.reader, self._answer))

    async def _opened(self, heard: Heard | None) -> ApprovalOpened | None:
        """The approval of an answer that is held, to be recorded with its end; None for any other."""
        if heard is None or heard.verdict is not Action.HOLD:
            return None
        admitted = self.admitted
        answer = HeldAnswer(
            admitted.tenant, self.id, admitted.caller, admitted.contributors, admitted.law, heard.body.due, self._answer,
            self._last_seq,
        )  # fmt: skip
        return await self._approvals.first(answer)

    def _end(self, finished: Finished, heard: Heard | None, told: GatewayError | None) -> End:
        if heard is not None and heard.verdict is Action.HOLD:
            return End.HELD
        if self._left or finished.reason is FinishReason.ABORTED:
            return End.ABORTED
        if heard is not None:
            return End.BLOCKED if heard.verdict.stops else End.DELIVERED
        return End.REFUSED if told is not None else End.FAILED

    def _outcome(self, heard: Heard | None) -> Outcome:
        if self._left and (heard is None or heard.verdict is not Action.HOLD):
            return Outcome.ABORTED
        if heard is not None:
            return Outcome.WITHHELD if heard.verdict.stops else Outcome.COMPLETE
        return Outcome.WITHHELD if self.admitted.rule is ReleaseRule.WHOLE else Outcome.ABORTED

    async def _append(self, statements: Sequence[Statement], haste: Haste = Haste.AWAITED) -> None:
        if not statements:
            return
        entries = [self.admitted.entry(statement.body) for statement in statements]
        appended = await append_when_room(self._append_to_log, entries, self._linger(haste))
        self._records += len(entries)
        self._last_seq = appended.last_seq

    def _linger(self, haste: Haste) -> float:
        return haste.linger(max(0, self._engine.followed - 1))  # the engine may not have begun this one

    def _hurry(self) -> None:
        self._append_to_log.hurry(self._linger(Haste.AWAITED))

    def _give_up(self, error: GatewayError) -> None:
        self._engine.abort(self.id)
        self._orphan(self.admitted.tenant, self.id)
        self._release.fail(error)

    def _account(self, finished: Finished, heard: Heard) -> Account:
        request = self.admitted.request
        return Account(
            generation=self.id,
            mode=request.mode.value,
            policy_digest=self.admitted.policy_digest.hex(),
            block_length=request.block_length,
            seed=request.sampling.seed,
            prompt_tokens=finished.prompt_tokens,
            completion_tokens=finished.tokens,
            forwards=finished.forwards,
            records=self._records,
            first_seq=self._first_seq,
            last_seq=self._last_seq,
            reason=finished.reason.value,
            annotations=heard.annotations,
            cached_tokens=self._cached or 0,
            stop=self._release.stopped_by,
        )


def _turned_away(error: InvalidRequest | Busy) -> GatewayError:
    """What the engine would not even begin, in a client's words."""
    if isinstance(error, Busy):
        return Overloaded(str(error), retry_seconds=UNKNOWN_SECONDS)
    return BadRequest(str(error))
