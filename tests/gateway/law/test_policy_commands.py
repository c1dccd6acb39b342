"""`palimpsest policy`: what people do about the law, beside a real database."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.people.names import Role
from gateway.settings import Settings
from tests.audit.writer_samples import TENANT
from tests.gateway.commanding import command_line
from tests.gateway.law.cheap import make
from tests.gateway.law.test_docket import coding, docket
from tests.gateway.planted import PASSWORD, plant_tenant, plant_user
from tests.gateway.tenant_log import TenantLog
from tests.policies.facts import HEAD, write
from tests.postgres_fixtures import Database

TWO = ("--requested-by", "ada", "--approved-by", "grace", "--reason", "a reason", "--password-stdin")
CHILD = HEAD + 'inherit = "baseline"\n[limits]\nmax_tokens = 64\ndefault_max_tokens = 64\n'
LAW = '[[rules]]\nid = "eyes"\nphase = "release"\naction = "hold"\napproval = "default"\n[approvals.default]\ngroups = ["%s"]\n'
NAMED = '[[rules]]\nid = "r"\nphase = "admit"\naction = "block"\nwhen = { %s }\n'

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `palimpsest policy` for tenant acme of a database that somebody else runs: status, output, complaints."""
    palimpsest = command_line(monkeypatch, capsys, tmp_path / "home", database)
    plant_tenant(database.app_url, TENANT)
    plant_user(database.app_url, TENANT, "ada", Role.POLICY_ADMIN)
    plant_user(database.app_url, TENANT, "grace", Role.AUDITOR, groups=("engineers", "code-owners"))
    plant_user(database.app_url, TENANT, "eve", Role.OPERATOR, Role.APPROVER)

    def command(*arguments: str) -> tuple[int, str, str]:
        done = palimpsest("policy", *arguments, "--tenant", TENANT, typed=f"{PASSWORD}\n{PASSWORD}\n")
        return done.status, done.out, done.err

    return command


def test_a_policy_is_applied_shown_and_rolled_back(run: Run, tmp_path: Path) -> None:
    """Each change prints its record, `show` and `history` tell what stands and who agreed, and a rollback goes back."""
    first, second = write(tmp_path, "first", CHILD), write(tmp_path, "second", CHILD + LAW % "engineers")
    assert "comes with this release" in run("show")[1]
    assert "no change is on record" in run("history")[1]
    status, out, err = run("apply", str(first), *TWO)
    assert (status, out.startswith("record 0: policy "), err) == (0, True, "")
    assert "tried on 10% of requests" in run("apply", str(second), "--canary", "0.1", *TWO)[1]
    shown = tmp_path / "shown.json"
    assert "tried on 10% of requests" in run("show", "--json", str(shown))[1]
    told = json.loads(shown.read_text())
    assert (told["seq"], told["share"], told["document"]["limits"]["max_tokens"]) == (1, 0.1, 64)
    assert run("rollback", *TWO)[1] == f"record 2: policy {told['digest'][:16]} is in force\n"
    lines = run("history")[1].splitlines()
    assert len(lines) == 3 and "10% of requests, asked by ada, agreed by grace: a reason" in lines[1]


@pytest.mark.parametrize(
    ("text", "two", "why"),
    [
        (CHILD + "max_tokns = 3\n", TWO, "bad.toml:7: limits"),
        (CHILD.replace("= 64", "= 9999"), TWO, "a child may only tighten 'baseline'"),
        (CHILD + LAW % "strangers", TWO, "'strangers'"),
        (CHILD + NAMED % 'model = ["gpt"]', TWO, "known: palimpsest-tiny"),
        (CHILD + NAMED % 'group = ["strangers"]', TWO, "known: code-owners, engineers"),
        (CHILD.replace("acme", "other"), TWO, "is for tenant 'other'"),
        (CHILD, ("--by", "ada", "--approved-by", "ada", *TWO[4:]), "cannot approve"),
        (CHILD, ("--by", "ada", "--approved-by", "eve", *TWO[4:]), "takes the role auditor or policy_admin"),
        (CHILD, ("--by", "grace", "--approved-by", "ada", *TWO[4:]), "takes the role policy_admin"),
    ],
)  # fmt: skip
def test_a_bad_document_or_one_person_changes_nothing(
    run: Run, tmp_path: Path, text: str, two: tuple[str, ...], why: str
) -> None:
    """A fault is told with file, line and reason; so is a person who may not; nothing is recorded and nothing takes force."""
    status, _, err = run("apply", str(write(tmp_path, "bad", text)), *two)
    assert status == 1 and why in err.replace("\n", " ")
    assert "no change is on record" in run("history")[1]


@pytest.mark.parametrize(
    ("when", "why"), [('model = ["gpt"]', "known: palimpsest-tiny"), ('group = ["strangers"]', "known: code-owners, engineers")]
)
def test_names_are_checked_before_anybody_agrees(run: Run, tmp_path: Path, when: str, why: str) -> None:
    """`check` for a tenant tells of models and groups that nobody has, and finds nothing wrong with those that there are."""
    good = NAMED % 'model = ["palimpsest-tiny"], group = ["engineers"]'
    status, out, err = run("check", str(write(tmp_path, "good", CHILD + good)))
    assert (status, err, "not checked" in out) == (0, "", False)
    status, _, err = run("check", str(write(tmp_path, "bad", CHILD + NAMED % when)))
    assert status == 1 and "bad.toml:11: rules.r.when." in err and why in err


def test_recorded_traffic_is_explained_replayed_and_swept(run: Run, database: Database, tmp_path: Path) -> None:
    """The policy in force reproduces its record if there is one, a candidate stands beside it, a threshold draws its curve."""
    policy = coding(tmp_path)
    assert run("apply", str(tmp_path / "coding.toml"), *TWO)[0] == 0
    status, _, err = run("replay", "--json", str(tmp_path / "none.json"))
    assert status == 3 and "nothing was reproduced" in err
    assert json.loads((tmp_path / "none.json").read_text())["reproduced"] is False
    log = TenantLog(database, Settings.read(os.environ).keys)
    asyncio.run(_traffic(log, tmp_path))
    report, curve, why = tmp_path / "replay.json", tmp_path / "sweep.json", tmp_path / "why.json"
    candidate = write(tmp_path, "candidate", coding_text(tmp_path).replace("below = -9.2", "below = -1.0"))
    status, out, err = run("replay", "--json", str(report), str(candidate))
    assert (status, err) == (0, "") and "holds a day" in out
    told = json.loads(report.read_text())
    assert told["reproduced"] is True and told["rows"] == 60
    assert told["new"]["outcomes"]["hold"] > told["old"]["outcomes"]["hold"]
    assert run("replay", "--since", "7d")[0] == 0
    asked = ("--metric", "logprob_min", "--from", "-12", "--to", "0", "--steps", "3", "--json", str(curve))
    assert "threshold" in run("sweep", *asked)[1]
    held = [point["effects"]["outcomes"]["hold"] for point in json.loads(curve.read_text())["points"]]
    assert held == sorted(held) and held[0] < held[-1]
    row = next(row for row in docket(log, policy).rows if row.units)
    assert "gate:" in run("explain", row.id, "--json", str(why))[1]
    assert json.loads(why.read_text())["unit 0"]["ruling"]["verdict"] == row.units[0][1].verdict.value
    assert run("explain", "01936f5e-0000-7000-8000-000000000001")[::2] == (1, "palimpsest: no such request in this tenant\n")
    status, _, err = run("sweep", "--metric", "nope", *asked[2:])
    assert status == 2 and "no metric 'nope'" in err and "logprob_min" in err


def coding_text(folder: Path) -> str:
    """The document that `coding` wrote."""
    return (folder / "coding.toml").read_text()


async def _traffic(log: TenantLog, folder: Path) -> None:
    async with log.writing() as writer:
        await make(coding(folder), writer, 60)
