"""What is on record is enough to judge it again: the policy in force says of each recorded request what it said then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

import policies
from audit.keys import KeyStore
from audit.laws import Laws
from audit.store import read_tenant
from gateway.law.docket import Docket, read_docket
from gateway.law.known import known_policies, law_of
from gateway.replay import Claim, ReplayRefused
from gateway.replay import replay as run_again
from policies import Outcome, Policy
from tests.audit.writer_samples import TENANT
from tests.gateway.housed import housed, tiny
from tests.gateway.law.cheap import make
from tests.gateway.tenant_log import TenantLog
from tests.policies.documents import coding_agents
from tests.policies.documents import policy as made
from tests.policies.facts import write
from tests.postgres_fixtures import Database

ADMITS = """
[[rules]]
id = "no-refunds"
phase = "admit"
when = { workflow = ["refunds"] }
action = "block"
reason = "refunds are for people"

[[rules]]
id = "night"
phase = "admit"
when = { workflow = ["invoices"], time = { after = "00:00", before = "24:00" } }
action = "hold"
approval = "owners"
"""


def coding(folder: Path) -> Policy:
    """The worked example for coding agents as a policy of `acme`, with rules on admission and without budgets."""
    return policies.load(write(folder, "coding", coding_agents(TENANT, ADMITS)))


def watching(folder: Path) -> Policy:
    """The same as a shadow, which may not inherit from a document that is enforced."""
    text = coding_agents(TENANT, ADMITS).replace('inherit = "baseline"', 'enforcement = "shadow"')
    return policies.load(write(folder, "watching", text))


def docket(log: TenantLog, policy: Policy, since: int = 0) -> Docket:
    """What is on record under a policy."""
    with read_tenant(log.database.reader_url, TENANT) as reader:
        return read_docket(reader, KeyStore(log.keys), policy, since)


@pytest.mark.long
async def test_a_thousand_recorded_generations_are_reproduced(log: TenantLog, tmp_path: Path) -> None:
    """Of 1,000 requests that went through admission, gate, release and log, every decision is reproduced exactly."""
    policy = coding(tmp_path)
    async with log.writing() as writer:
        await make(policy, writer, 1_000)
    found = docket(log, policy)
    assert (len(found.rows), found.others, found.unread, found.unfinished) == (1_000, 0, 0, 0)
    report = policies.replay(policy, policy, found.rows)
    assert (report.unreproduced, report.changed, report.new.estimated) == ((), (), 0)
    assert all(report.old.outcomes[outcome] > 20 for outcome in (Outcome.ALLOW, Outcome.HOLD, Outcome.REFUSE))
    again = {ruling.verdict for row in found.rows for _, ruling in row.units}
    assert again >= {policies.Verdict.ACCEPT, policies.Verdict.REFINE, policies.Verdict.REDO_AR, policies.Verdict.HOLD}
    assert report.old.extra_cost > 0


@pytest.mark.parametrize("stage", ["facts", "units", "answer"])
async def test_a_record_of_another_world_is_not_reproduced(log: TenantLog, tmp_path: Path, stage: str) -> None:
    """Had one fact, figure or verdict been recorded otherwise, the replay would say so and name the request."""
    policy = coding(tmp_path)
    async with log.writing() as writer:
        await make(policy, writer, 40)
    rows = docket(log, policy).rows
    at = next(at for at, row in enumerate(rows) if row.units and row.release and row.admission.mode == "diffusion")
    row = rows[at]
    changed = {
        "facts": replace(row, facts=replace(row.facts, workflow="refunds")),
        "units": replace(row, units=((replace(row.units[0][0], logprob_min=-30.0), row.units[0][1]), *row.units[1:])),
        "answer": replace(row, answer=None),
    }
    rows[at] = changed[stage]
    assert [each.row for each in policies.replay(policy, policy, rows).unreproduced] == [row.id]


async def test_a_shadow_is_reproduced_and_never_acts(log: TenantLog, tmp_path: Path) -> None:
    """Under a shadow everything is allowed, what would have been is on record, and the record is reproduced."""
    shadow, enforced = watching(tmp_path), coding(tmp_path)
    async with log.writing() as writer:
        await make(shadow, writer, 100)
    found = docket(log, shadow)
    report = policies.replay(shadow, shadow, found.rows)
    assert report.unreproduced == () and report.old.outcomes[Outcome.HOLD] == 0
    labels = {label for row in found.rows for label in (*row.admission.rules, *(ruling.rule for _, ruling in row.units))}
    assert {"shadow:rule:no-refunds", "shadow:refine:gate:unsure-commit"} <= labels
    assert docket(log, enforced).others == len(found.rows)


async def test_a_period_begins_where_it_says(log: TenantLog, tmp_path: Path) -> None:
    """Only what was admitted from a time on is on the docket of that period."""
    policy = coding(tmp_path)
    async with log.writing() as writer:
        await make(policy, writer, 5)
        await make(policy, writer, 5, seed=8)
    with read_tenant(log.database.reader_url, TENANT) as reader:
        times = [leaf.ts for leaf in reader.leaves()]
    assert len(docket(log, policy).rows) == 10
    assert docket(log, policy, times[-1] + 1).rows == []
    assert len(docket(log, policy, times[len(times) // 2]).rows) < 10


async def test_a_gated_generation_is_run_again(database: Database, tmp_path: Path) -> None:
    """With the policy on record, the engine asked again under the same gate does every step again, refinements included."""
    gate = '[[gates]]\nid = "g"\nmodes = ["diffusion"]\nmetric = "attempt"\nbelow = 0.5\naction = "refine"\n'
    policy = made(gate + 'refine = { threshold = 1.0, steps = 2, attempts = 1, then = "hold" }\n')
    async with housed(database, tmp_path, policy) as inside:
        answer = await inside.ask(palimpsest={"mode": "diffusion"}, max_tokens=20)
        bodies, request = inside.records(answer), UUID(answer.headers["x-request-id"])
    law = law_of(TENANT, bodies, known_policies(Laws(), policy))
    assert law is not None and law_of(TENANT, bodies, {}) is None
    found = run_again(tiny(), request, bodies, law.gate())
    assert (found.claim, found.difference) == (Claim.EXACT, None)
    with pytest.raises(ReplayRefused, match="gate"):
        run_again(tiny(), request, bodies)
