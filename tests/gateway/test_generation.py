"""A generation releases nothing that is not committed, and is recorded to its end whatever happens to client and engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

import audit.writer
from audit.errors import AuditError, LogUnavailable, QueueFull
from audit.records import Body, Delivery, EngineNote, RequestClose
from audit.verify import Verdict
from audit.writer import Entry, Range
from engine.engine import Engine
from engine.events import FinishReason
from engine.request import Mode
from engine.scheduler import Capacity
from gateway.appending import Haste, append_when_room
from gateway.engine_thread import READ_ALONG
from gateway.errors import BadRequest, EngineDown, LogDown, Overloaded
from gateway.pieces import Ended, Failed, Text
from gateway.release import ReleaseRule
from tests.audit.writer_samples import TENANT
from tests.engine.harness import asked, decoded, finished, output, tokenizer
from tests.gateway.generating import Failing, Held, closes, damaged, generating, speaking, text_of
from tests.gateway.tenant_log import TenantLog, entry, output_ids
from tests.gateway.watched import Watched, untaken
from tests.waiting import until

LONG = 400


def ending(bodies: Sequence[Body]) -> tuple[Delivery, RequestClose]:
    """The last two records; the close must count all."""
    delivery, close = bodies[-2:]
    assert isinstance(delivery, Delivery) and isinstance(close, RequestClose)
    assert close.records == len(bodies)
    return delivery, close


def notes(bodies: Iterable[Body]) -> list[str]:
    """What the engine noted about a request."""
    return [body.note for body in bodies if isinstance(body, EngineNote)]


@pytest.mark.parametrize("mode", list(Mode))
async def test_text_leaves_only_after_its_records(log: TenantLog, tmp_path: Path, mode: Mode) -> None:
    """Before, during and after each append the client has exactly the text of the ids committed by earlier appends."""
    request, moments = asked(mode, (1, 200, 300), 60, temperature=1.0), list[bool]()
    async with log.writing() as writer:
        held = Held(writer)
        async with generating(request, writer, held, capacity=6) as run:

            def look(entries: Sequence[Entry]) -> None:
                moments.append(run.text() == text_of(output_ids(held.committed)))

            held.look = look
            await held.let_all_in(run)
        bodies, last = log.bodies(request.id), run.last()
        assert len(moments) >= 9 and all(moments)
        assert run.text() == tokenizer().decode(output_ids(bodies))
        assert isinstance(last, Ended) and last.account.records == len(bodies) == ending(bodies)[1].records
        assert (last.account.first_seq, last.account.last_seq) == (0, log.last_seq(request.id))
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


@pytest.mark.parametrize("release", list(ReleaseRule))
async def test_only_the_middle_of_an_answer_can_wait(log: TenantLog, release: ReleaseRule) -> None:
    """In company the records of an answer wait for a commit of others, but for those with its end hardly."""
    async with log.writing() as writer:
        held = Held(writer)
        async with generating(asked(Mode.DIFFUSION, (1, 200, 300), 60), writer, held, release=release) as run:
            await run.engine.submit(asked(Mode.AR, tokens=LONG), READ_ALONG)
            await held.let_all_in(run)
        ends = 1 if release is ReleaseRule.STREAM else 2  # a whole answer's last events are on record before it is judged
        middle, end = set(held.lingers[:-ends]), set(held.lingers[-ends:])
        assert middle <= {Haste.RUNNING.linger(1)} and end == {Haste.AWAITED.linger(1)}
        assert middle or release is ReleaseRule.WHOLE  # which has none unless it takes long


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_lone_answer_waits_for_no_others(log: TenantLog, mode: Mode) -> None:
    """Where no other answer is under way every record is stored at once."""
    async with log.writing() as writer:
        held = Held(writer)
        async with generating(asked(mode, (1, 200, 300), 60), writer, held) as run:
            await held.let_all_in(run)
    assert set(held.lingers) == {0.0}


async def test_an_answer_that_has_ended_lingers_no_longer(log: TenantLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that wait for a commit of others are stored once the engine has said the end, however long they might wait."""
    monkeypatch.setattr(Haste, "linger", lambda haste, others: 1000.0 if haste is Haste.RUNNING else 0.0)
    monkeypatch.setattr(audit.writer, "_CHECKPOINT_SECONDS", 1000.0)  # a checkpoint takes along what lingers
    engine, lingers = Engine(speaking()), list[float]()
    engine.pause()
    async with log.writing() as writer, generating(asked(Mode.DIFFUSION, (1, 200, 300), LONG), writer, engine=engine) as run:
        append = writer.append

        async def noted(entries: Sequence[Entry], linger: float = 0.0) -> Range:
            lingers.append(linger)
            return await append(entries, linger)

        monkeypatch.setattr(writer, "append", noted)
        engine.resume()
        await run.task
        assert isinstance(run.last(), Ended) and 1000.0 in lingers


async def test_whole_hands_out_nothing_before_the_end(log: TenantLog) -> None:
    """Under `whole` the client has nothing until all ids are committed, and then all of it in one piece."""
    request, moments = asked(Mode.DIFFUSION, (1, 200, 300), 60, temperature=1.0), list[str]()
    async with log.writing() as writer:
        held = Held(writer)
        async with generating(request, writer, held, release=ReleaseRule.WHOLE, capacity=6) as run:
            held.look = lambda entries: moments.append(run.text())
            await held.let_all_in(run)
        bodies = log.bodies(request.id)
        assert len(moments) >= 9 and set(moments) == {""}
        run.text()
        piece = run.pieces[0]
        assert isinstance(piece, Text) and piece.text == tokenizer().decode(output_ids(bodies))
        assert isinstance(run.last(), Ended)
        assert ending(bodies)[0].outcome == "complete" and len(run.pieces) == 2


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_client_that_leaves_stops_the_engine_and_is_recorded(log: TenantLog, tmp_path: Path, mode: Mode) -> None:
    """The work is aborted; what had been generated, what had been handed out and the end are on record and verify."""
    request = asked(mode, (1, 200, 300), LONG, temperature=1.0)
    async with log.writing() as writer:
        held = Held(writer)
        async with generating(request, writer, held, capacity=6) as run:
            for _ in range(3):
                await held.let_in(run)
            await until(lambda: held.waiting)
            had = run.text()
            run.generation.leave()
            await held.let_all_in(run)
        bodies = log.bodies(request.id)
        delivery, close = ending(bodies)
        assert had and run.text() == had
        assert (delivery.outcome, close.reason, "aborted" in notes(bodies)) == ("aborted", "aborted", True)
        assert (delivery.bytes_released, delivery.sha256_released) == (len(had.encode()), sha256(had.encode()).digest())
        assert 0 < close.tokens == len(output_ids(bodies)) < LONG
        assert run.orphans == []
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_a_client_that_leaves_at_once_is_recorded_too(log: TenantLog, tmp_path: Path) -> None:
    """A client that is gone before the engine was asked leaves an aborted request, not a running one."""
    request = asked(Mode.AR, (1, 200, 300), LONG)
    async with log.writing() as writer:
        async with generating(request, writer) as run:
            run.generation.leave()
            await run.task
        delivery, close = ending(log.bodies(request.id))
        assert (delivery.outcome, delivery.bytes_released, close.reason) == ("aborted", 0, "aborted")
        assert run.text() == ""
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


@pytest.mark.parametrize("good", [0, 1, 4, None], ids=["first", "second", "fifth", "closing"])
async def test_a_log_that_fails_ends_the_answer(log: TenantLog, good: int | None) -> None:
    """The client gets no text beyond what is committed, and an error; the work is ended, the request left to the reconciler."""

    def trouble(number: int, entries: Sequence[Entry]) -> AuditError | None:
        fails = closes(entries) if good is None else number >= good
        return LogUnavailable("the disk is full") if fails else None

    tokens = 60 if good is None else LONG
    request, engine = asked(Mode.LINEAR_SPEC, (1, 200, 300), tokens, temperature=1.0), Watched(speaking())
    async with log.writing() as writer:
        async with generating(request, writer, Failing(writer, trouble), engine, capacity=6) as run:
            await run.task
            await until(engine.engine.idle)
            await until(lambda: untaken(run.engine) == 0)
        bodies, last = log.bodies(request.id), run.last()
        assert isinstance(last, Failed) and isinstance(last.error, LogDown)
        assert run.text() == text_of(output_ids(bodies))
        assert run.orphans == [(TENANT, request.id)]
        assert finished(engine.said).reason is (FinishReason.LENGTH if good is None else FinishReason.ABORTED)
        assert [item.request for item in log.unfinished()] == [request.id]
        assert not any(isinstance(body, Delivery | RequestClose) for body in bodies)


async def test_a_full_queue_is_waited_for(log: TenantLog, tmp_path: Path) -> None:
    """An append that finds no room is made again, in its place; nothing is lost, doubled or handed out early."""
    request = asked(Mode.AR, (1, 200, 300), 60)
    async with log.writing() as writer:
        full = Failing(writer, lambda number, _: QueueFull("try again") if number in (1, 2, 4) else None)
        async with generating(request, writer, full, capacity=6) as run:
            await run.task
        bodies = log.bodies(request.id)
        assert isinstance(run.last(), Ended) and full.appends >= 6
        assert run.text() == tokenizer().decode(output_ids(bodies))
        assert ending(bodies)[1].tokens == 60
        always = Failing(writer, lambda *_: QueueFull("try again"))
        with pytest.raises(QueueFull):
            await append_when_room(always, [entry(request.id, bodies[0])], patience=0.05)
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


@pytest.mark.parametrize(("release", "outcome"), [(ReleaseRule.STREAM, "aborted"), (ReleaseRule.WHOLE, "withheld")])
@pytest.mark.parametrize("mode", list(Mode))
async def test_an_engine_that_dies_is_recorded(
    log: TenantLog, tmp_path: Path, mode: Mode, release: ReleaseRule, outcome: str
) -> None:
    """The fault is noted, what was generated is counted and the request is closed; the client gets an error."""
    request, engine = asked(mode, (1, 200, 300), LONG), Watched(speaking(), breaks_at=6)
    async with log.writing() as writer:
        async with generating(request, writer, engine=engine, release=release) as run:
            await run.task
        bodies, last = log.bodies(request.id), run.last()
        delivery, close = ending(bodies)
        assert (notes(bodies)[-1], delivery.outcome, close.reason) == ("fault", outcome, "fault")
        assert isinstance(last, Failed) and isinstance(last.error, EngineDown)
        assert run.text() == ("" if release is ReleaseRule.WHOLE else text_of(output_ids(bodies)))
        assert delivery.bytes_released == len(run.text().encode())
        assert run.orphans == []
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_a_fault_of_one_generation_is_recorded(log: TenantLog, tmp_path: Path) -> None:
    """A generation whose numbers break is closed with the engine's own note of it."""
    request, engine = asked(Mode.AR, (1, 200, 300)), Engine(damaged(200))
    async with log.writing() as writer:
        async with generating(request, writer, engine=engine) as run:
            await run.task
        bodies = log.bodies(request.id)
        assert (notes(bodies)[-1], ending(bodies)[1].reason) == ("fault", "fault")
        assert isinstance(run.last(), Failed)
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_fault_in_the_middle_still_verifies(log: TenantLog, tmp_path: Path, mode: Mode) -> None:
    """Passes that ended in a fault are on record, so that the closing counts are those of the records."""
    token = output(decoded(speaking(), asked(Mode.AR, (1, 200, 300), 20)))[0]
    async with (
        log.writing() as writer,
        generating(asked(mode, (1, 200, 300), 20), writer, engine=Engine(damaged(token))) as run,
    ):
        await run.task
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_what_the_engine_refuses_is_recorded(log: TenantLog, tmp_path: Path) -> None:
    """A request that was admitted and that the engine will not take is the client's error, noted and closed without tokens."""
    request = asked(Mode.AR, (1, 200, 300), 10**6)
    async with log.writing() as writer:
        async with generating(request, writer) as run:
            assert not await run.generation.begun()
            await run.task
        bodies, last = log.bodies(request.id), run.last()
        delivery, close = ending(bodies)
        assert isinstance(last, Failed) and isinstance(last.error, BadRequest)
        assert bodies[3:-2] == [EngineNote("refused", f"InvalidRequest: {last.error.message}")]
        assert (delivery.outcome, close.reason, close.tokens) == ("aborted", "fault", 0)
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_an_engine_that_is_full_is_recorded(log: TenantLog, tmp_path: Path) -> None:
    """A request that finds the line full is told to come again, and its records say that it never ran."""
    request, engine = asked(Mode.AR, (1, 200, 300)), Engine(speaking(), capacity=Capacity(waiting=1))
    engine.pause()
    engine.submit(asked(Mode.AR, (1, 200, 300)))
    async with log.writing() as writer:
        async with generating(request, writer, engine=engine) as run:
            assert not await run.generation.begun()
            await run.task
        bodies, last = log.bodies(request.id), run.last()
        assert isinstance(last, Failed) and isinstance(last.error, Overloaded) and last.error.retry_seconds >= 1
        assert notes(bodies) == ["refused"] and ending(bodies)[1].tokens == 0
        assert run.orphans == []
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED


async def test_an_engine_that_has_ended_never_begins(log: TenantLog, tmp_path: Path) -> None:
    """Nobody is told that an answer begins when the engine ended before it could; the request is closed all the same."""
    request = asked(Mode.AR, (1, 200, 300))
    async with log.writing() as writer:
        async with generating(request, writer) as run:
            await run.engine.stop()
            assert not await run.generation.begun()
            await run.task
        last = run.last()
        assert isinstance(last, Failed) and isinstance(last.error, EngineDown)
        assert ending(log.bodies(request.id))[1].reason == "fault"
    assert log.verified(tmp_path / "out").verdict is Verdict.VERIFIED
