"""What a request consumed can be told from its records, however far they go; so a lease that nobody holds is settled."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from audit.keys import KeyStore
from audit.records import PromptBody, RequestClose
from engine.request import Mode
from gateway.budgets.accounts import EXPIRED_MOST, Accounts, AccountsDown
from gateway.budgets.budgets import Budgets
from gateway.budgets.from_log import Recorded
from gateway.settings import DatabaseUrl
from policies import Unit, Usage, Window
from tests.audit.writer_samples import TENANT
from tests.engine.harness import asked
from tests.gateway.budgets.drawing import TARIFF, Teller, ask, teller
from tests.gateway.budgets.drawing import budget as counted
from tests.gateway.budgets.laws import budget, law, tokens_of
from tests.gateway.budgets.test_budgets import refused, standing
from tests.gateway.generating import generating
from tests.gateway.housed import housed
from tests.gateway.tenant_log import TenantLog, entry
from tests.postgres_fixtures import Database

TOKENS, REQUESTS = (counted(unit, "1000", window=Window.DAY) for unit in (Unit.TOKENS, Unit.REQUESTS))


def another(bank: Teller, log: TenantLog) -> Budgets:
    """The budgets of another gateway over the same database."""
    url = DatabaseUrl(bank.database.app_url)
    return Budgets(Accounts(url, bank.instance), DatabaseUrl(bank.database.reader_url), KeyStore(log.keys))


@pytest.mark.parametrize("mode", ["ar", "diffusion", "linear_spec", "quadratic_spec"])
async def test_the_records_tell_what_was_used(log: TenantLog, mode: str) -> None:
    """By any leading part of its records a request has used what they hold; by all of them, what its end declares."""
    async with log.writing() as writer:
        request = asked(Mode(mode), tokens=40)
        async with generating(request, writer) as run:
            await run.task
    bodies = log.bodies(request.id)
    close = bodies[-1]
    assert isinstance(close, RequestClose)
    known = [Recorded(tuple(bodies[:count]), Decimal(2)).usage() for count in range(len(bodies) + 1)]
    assert known[0] is None and known[3] == Usage()
    told = [each for each in known if each is not None]
    assert told == sorted(told, key=lambda usage: (usage.answer_tokens, usage.forwards))
    assert close.busy_us is not None
    by_close = Usage(close.prompt_tokens, close.tokens, close.forwards, Decimal(close.busy_us) / 1_000_000)
    assert (known[-1], known[-2]) == (by_close, replace(by_close, gpu_seconds=Decimal(2)))


async def test_a_lease_without_a_holder_is_settled_by_the_log(log: TenantLog, database: Database) -> None:
    """Of expired leases one is charged what its request decoded, one never opened costs nothing; a live one stays."""
    with teller(database) as bank:
        request, kept = asked(Mode.AR, tokens=40), asked(Mode.AR)
        for own in (request.id, asked(Mode.AR).id):
            assert bank.reserve(ask(TOKENS, 100), ask(REQUESTS), request=own) == []
        async with log.writing() as writer, generating(request, writer) as run:
            await run.task
        budgets = another(bank, log)
        await budgets.beat()
        assert (bank.account("tokens"), bank.account("requests")) == ((200, 0), (0, 2))
        bank.later(40)
        bank.reserve(ask(TOKENS, 100), ask(REQUESTS), request=kept.id)
        for _ in range(2):
            await budgets.beat()
            assert bank.account("tokens") == (100, tokens_of(log.bodies(request.id)))
            assert bank.account("requests") == (0, 2)
        budgets.close()


async def test_a_log_that_cannot_be_read_holds_up_no_other(log: TenantLog, database: Database) -> None:
    """However many leases of a tenant whose records cannot be read have expired, those of every other tenant are settled."""
    with teller(database) as stuck, teller(database, "globex") as bank:
        request = asked(Mode.AR).id
        async with log.writing() as writer:
            await writer.append([entry(request, PromptBody("[]", (1,)))])
        with psycopg.connect(database.superuser_url) as intruder:
            intruder.execute("SET session_replication_role = replica")
            intruder.execute("UPDATE audit.header SET raw = '\\x00' WHERE request = %s", (request,))
        for each in (request, *(asked(Mode.AR).id for _ in range(EXPIRED_MOST))):
            assert stuck.reserve(ask(TOKENS), request=each) == []
        bank.later(1)
        assert bank.reserve(ask(TOKENS, 100, tenant="globex")) == []
        bank.later(40)
        budgets = another(bank, log)
        await budgets.beat()
        assert bank.account("tokens") == (0, 0), "its request was never opened"
        assert stuck.account("tokens") == (EXPIRED_MOST + 1, 0)
        budgets.close()


async def test_a_held_lease_lives_as_long_as_its_request(log: TenantLog, database: Database) -> None:
    """A gateway renews what it holds, all of it, however long its requests take; what it has let go expires."""
    with teller(database) as bank:
        budgets = another(bank, log)
        long, gone = asked(Mode.AR), asked(Mode.AR)
        for request in (long, gone):
            await budgets._reserve(request.id, TENANT, TARIFF, (ask(TOKENS, 100),))
        budgets.forget(gone.id)
        for _ in range(4):
            await budgets.beat()
            bank.later(20)
        assert bank.account("tokens") == (100, 0)
        budgets.close()


async def test_a_settlement_that_failed_is_made_up_for(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the accounts are away as a request ends its client has its answer, and the lease is settled later, as counted."""
    tables = (budget("words", "tokens", "1000"), budget("one", "concurrency", "1"))
    async with housed(database, tmp_path, law(tmp_path, *tables)) as inside:
        with monkeypatch.context() as gone:
            gone.setattr(Accounts, "settle", away)
            answer = await inside.ask()
        assert answer.status_code == 200 and standing(inside, "words")[1] == 0
        refused(inside, await inside.ask(), "one")
        with teller(database) as bank:
            bank.later(40)
        await inside.house.budgets.beat()
        assert standing(inside, "words") == (0, tokens_of(inside.records(answer)))
        assert (await inside.ask()).status_code == 200


def away(*_: object) -> bool:
    """In place of a call to the accounts."""
    raise AccountsDown("the database is away")
