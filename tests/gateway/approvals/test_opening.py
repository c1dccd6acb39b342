"""Laws of how an approval begins: with the answer's end, in one commit, over the very text that its client would have had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from audit.approvals import ApprovalOpened
from audit.errors import AuditError, LogUnavailable
from audit.keys import KeyStore
from audit.records import Delivery, RequestAbandoned, RequestClose
from audit.verify import Verdict as Found
from audit.writer import Entry
from engine.gates import BlockFacts, Gate, Ruling, Verdict
from engine.request import GenerationRequest, Mode
from gateway.approvals.case import State
from gateway.approvals.files import Files
from gateway.settings import DatabaseUrl
from tests.audit.writer_samples import TENANT
from tests.engine.harness import asked, tokenizer
from tests.gateway.generating import Failing, closes, generating
from tests.gateway.tenant_log import CALLER, TenantLog

PROMPT = (1, 200, 300)


def held(facts: BlockFacts) -> Ruling:
    """Every unit is held."""
    return Ruling(Verdict.HOLD, "rule of the test")


def request(mode: Mode, seed: int, stops: tuple[str, ...] = ()) -> GenerationRequest:
    """Text of a random model, broken UTF-8 included."""
    return asked(mode, PROMPT, 60, temperature=1.0, seed=seed, gate=Gate(held, frozenset({Verdict.HOLD})), stop_strings=stops)


@pytest.fixture
def files(log: TenantLog) -> Iterator[Files]:
    """What reads cases and contents back."""
    with closing(Files(DatabaseUrl(log.database.reader_url), KeyStore(log.keys), tokenizer().decode_bytes)) as opened:
        yield opened


@pytest.mark.parametrize("mode", [Mode.DIFFUSION, Mode.AR, Mode.QUADRATIC_SPEC])
async def test_the_held_text_is_read_back_from_the_log(log: TenantLog, files: Files, tmp_path: Path, mode: Mode) -> None:
    """Whatever the mode, and wherever a stop string ends it, the recorded ids give the text that people decide about."""
    async with log.writing() as writer:
        async with generating(request(mode, 3), writer) as run:
            await run.task
        whole = files.case(TENANT, run.generation.id)
        assert whole is not None and whole.state is State.PENDING and whole.opened.requester == CALLER
        text = files.content(whole)
        stop = next(char for char in text[len(text) // 2 :] if char.isascii())
        async with generating(request(mode, 3, (stop,)), writer) as cut:
            await cut.task
        shorter = files.case(TENANT, cut.generation.id)
    assert shorter is not None and files.content(shorter) == text[: text.index(stop)]
    assert log.verified(tmp_path / "out").verdict is Found.VERIFIED


async def test_no_answer_is_held_without_an_approval(log: TenantLog) -> None:
    """Verdict, delivery of nothing, close and the first cycle stand together, or none of them does."""

    def trouble(_: int, entries: Sequence[Entry]) -> AuditError | None:
        return LogUnavailable("down") if closes(entries) else None

    async with log.writing() as writer:
        async with generating(request(Mode.AR, 4), writer) as run:
            await run.task
        async with generating(request(Mode.AR, 4), writer, Failing(writer, trouble)) as broken:
            await broken.task
    names = [type(body) for body in log.bodies(run.generation.id)][-3:]
    assert names == [Delivery, RequestClose, ApprovalOpened]
    assert not any(isinstance(body, Delivery | ApprovalOpened | RequestAbandoned) for body in log.bodies(broken.generation.id))
    assert broken.orphans == [(TENANT, broken.generation.id)]
