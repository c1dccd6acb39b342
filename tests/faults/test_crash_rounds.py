"""kill -9 of the database, of the gateway, of both: five rounds over one log, and what the judge would have noticed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from audit.verify import Verdict
from gateway.postgres import Server
from tests.audit.writer_samples import TENANT
from tests.faults import judge
from tests.faults.clients import Told
from tests.faults.rounds import Round, Site, Victim, open_site
from tests.postgres_fixtures import copied

pytestmark = pytest.mark.long

ROUNDS, SEED = 5, 1329


@dataclass(frozen=True, slots=True)
class Fought:
    """A site after its rounds; its gateway has stopped."""

    site: Site
    rounds: tuple[Round, ...]


@pytest.fixture(scope="module")
def fought(durable_cluster: Server, endless: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fought]:
    """Five rounds over one home and one database."""
    folder = tmp_path_factory.mktemp("rounds")
    durable_cluster.start()
    with copied(durable_cluster) as database:
        with open_site(database, folder / "home", endless) as site:
            rounds = tuple(site.fight(number, SEED, folder / str(number)) for number in range(ROUNDS))
        yield Fought(site, rounds)


@pytest.mark.timeout(240)
def test_no_crash_takes_back_or_doubles_what_was_said(fought: Fought) -> None:
    """After each kill -9 all that clients received is on record, dense and once, every request ends, the export verifies."""
    assert [(each.number, each.wrong) for each in fought.rounds] == [(number, ()) for number in range(ROUNDS)]
    assert {each.victim for each in fought.rounds} == set(Victim)
    assert all(each.answers and each.characters for each in fought.rounds)
    assert any(each.abandoned for each in fought.rounds) and any(each.complete for each in fought.rounds)


@pytest.mark.timeout(240)
def test_after_all_crashes_the_log_is_whole_and_signed(fought: Fought, tmp_path: Path) -> None:
    """Once the gateway has been stopped politely, everything of all rounds is under a checkpoint and verifies."""
    report = judge.exported(fought.site.served, tmp_path / "bundle", fought.site.memory)
    assert report.verdict is Verdict.VERIFIED, report.findings
    assert report.covered == report.records == report.decrypted >= len(fought.site.memory.leaves)
    assert list(judge.misheard(fought.site.served, fought.site.told)) == []


@pytest.mark.timeout(240)
def test_the_judge_notices_what_a_crash_could_do(fought: Fought) -> None:
    """A byte nobody recorded, an end nobody recorded, a lost record and a batch stored twice are each named."""
    served = fought.site.served
    heard = next(each for each in fought.site.told if not each.done and each.text)
    assert list(judge.misheard(served, [Told(heard.generation, heard.text)])) == []
    assert len(list(judge.misheard(served, [Told(heard.generation, heard.text + "x")]))) == 1
    assert len(list(judge.misheard(served, [Told(heard.generation, heard.text, done=True)]))) == 2
    forgotten = judge.Memory([bytes(32), *fought.site.memory.leaves[1:]])
    assert list(judge.disordered(served, forgotten))
    with psycopg.connect(fought.site.database.superuser_url, autocommit=True) as superuser:
        superuser.execute("INSERT INTO audit.batch SELECT gen_random_uuid(), tenant, first_seq, n FROM audit.batch "
                          "WHERE tenant = %s LIMIT 1", (TENANT,))  # fmt: skip
    assert "the batches do not cover the log once" in judge.disordered(served, judge.Memory())
