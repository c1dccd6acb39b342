"""How many of a model's wrong answers a policy keeps from its clients, and at what price in held answers.

    python -m tests.bench.holding --kind function [--checkpoint DIR] [--count 500] [--json FILE]

Held-out questions go through a whole gateway twice, over a real log: under a shadow that measures one figure and stops nothing,
and under the worked example for coding agents, enforced. Each answer is read back from its records and judged by
executing it, as `palimpsest eval` does. Then `sweep` moves one threshold over the shadow's rows: below it, an answer is held.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

import structlog
from rich.console import Console
from rich.table import Table

import policies
from audit.keys import KeyStore
from audit.store import read_tenant
from engine.model.checkpoint import LoadedModel, load
from engine.train.evaluate import questions
from engine.train.execution import Outcome
from engine.train.tasks import Exercise, Kind
from engine.train.tasks.chat import heard
from gateway.json_file import write_json
from gateway.law.docket import read_docket
from gateway.postgres import Durability
from policies import Policy
from policies.rows import Human, Row
from tests.audit.writer_samples import TENANT
from tests.engine.small import TINY
from tests.gateway.housed import CHAT, Housed, housed
from tests.gateway.tenant_log import output_ids
from tests.policies.documents import coding_agents
from tests.policies.facts import write
from tests.postgres_fixtures import Database, copied, running

METRIC: Final = policies.Metric.LOGPROB_MIN
THRESHOLDS: Final = (-25.0, -20.0, -15.0, -10.0, -7.0, -5.0, -4.0, -3.0, -2.0, -1.0, -0.5, -0.1)
AT_ONCE: Final = 16
GREEDY: Final = {"temperature": 0, "max_tokens": 256}
HOLDING: Final = """
[[gates]]
id = "doubtful"
modes = ["diffusion"]
metric = "logprob_min"
below = -20.0
action = "hold"
reason = "a token is implausible after the text before it"
"""


@dataclass(frozen=True, slots=True)
class Found:
    """Of `answers` under one policy: how many were wrong, how many of these left by themselves, how many were stopped."""

    policy: str
    answers: int
    wrong: int
    wrong_released: int
    stopped: int
    fallback_share: float

    @property
    def wrong_share(self) -> float:
        """Wrong answers that reached a client unheld, of all answers."""
        return self.wrong_released / self.answers


def law(folder: Path, name: str, enforcement: str, gates: str = "") -> Policy:
    """The worked example for coding agents as a document of the benchmark's tenant; `gates` in place of its own."""
    text = coding_agents(TENANT).replace('inherit = "baseline"', f'enforcement = "{enforcement}"')
    if gates:
        text = text[: text.index("[[gates]]")] + gates + text[text.index("# -- what the answer would do") :]
    return policies.load(write(folder, name, text))


async def asked(inside: Housed, exercises: Sequence[Exercise]) -> dict[str, Exercise]:
    """Every question once, and which request asked it."""
    room, found = asyncio.Semaphore(AT_ONCE), dict[str, Exercise]()

    async def one(exercise: Exercise) -> None:
        tools = [tool.document() for tool in exercise.chat.tools]
        body = {"model": inside.house.intake.model.name, "messages": exercise.chat.messages(), **GREEDY}
        async with room:
            answer = await inside.client.post(CHAT, json=body | ({"tools": tools} if tools else {}))
        found[str(UUID(answer.headers["x-request-id"]))] = exercise

    await asyncio.gather(*map(one, exercises))
    return found


async def rows_under(
    policy: Policy, model: LoadedModel, exercises: Sequence[Exercise], database: Database, home: Path
) -> list[Row]:
    """What is on record of every question under a policy, each row with what executing its answer showed."""
    async with housed(database, home, policy, model) as inside:
        by_request = await asked(inside, exercises)
        log = inside.log
    with read_tenant(database.reader_url, TENANT) as reader:
        rows = read_docket(reader, KeyStore(log.keys), policy).rows
    return [_labelled(row, by_request[row.id], heard(model.tokenizer, output_ids(log.bodies(UUID(row.id))))) for row in rows]


def _labelled(row: Row, exercise: Exercise, text: str) -> Row:
    return replace(row, human=Human(exercise.check.judge(text).outcome is Outcome.PASSED))


def found(name: str, policy: Policy, rows: Sequence[Row]) -> Found:
    """The figures of the policy under which the rows were made."""
    report = policies.replay(policy, policy, rows)
    if not report.reproduced:
        raise SystemExit(f"{name}: {len(report.unreproduced)} recorded decisions are not reproduced: this is a fault of ours")
    quality = report.new.quality
    return Found(name, len(rows), quality.wrong, quality.wrong_released, quality.stopped, report.new.fallback_share)


def measured(model: LoadedModel, exercises: Sequence[Exercise], home: Path) -> tuple[list[Found], list[policies.Point]]:
    """Both policies over the same questions, and the sweep over what the shadow recorded."""
    shadow = law(home, "shadow", "shadow", HOLDING)
    enforced, holding = law(home, "coding", "enforce"), law(home, "holding", "enforce", HOLDING)
    told: list[list[Row]] = []
    with running(home / "cluster", Durability.VOLATILE) as server:
        for policy in (shadow, enforced):
            with copied(server) as database:
                told.append(asyncio.run(rows_under(policy, model, exercises, database, home / policy.name)))
    figures = [found("shadow", shadow, told[0]), found("coding", enforced, told[1])]
    return figures, policies.sweep(holding, told[0], METRIC, THRESHOLDS)


def table(figures: Sequence[Found], points: Sequence[policies.Point]) -> Table:
    """Both policies, then one line for each threshold."""
    made = Table("policy", "answers", "wrong", "wrong and unheld", "held or blocked", "decoded again")
    for each in figures:
        shares = (f"{share:.1%}" for share in (each.wrong_share, each.stopped / each.answers, each.fallback_share))
        made.add_row(each.policy, str(each.answers), str(each.wrong), *shares)
    for point in points:
        quality = point.effects.quality
        shares = (f"{share:.1%}" for share in (quality.wrong_released / point.rows, point.hold_rate))
        made.add_row(f"held below {point.threshold:g}", str(point.rows), str(quality.wrong), *shares, "-")
    return made


def document(model: LoadedModel, figures: Sequence[Found], points: Sequence[policies.Point]) -> dict[str, Any]:
    """All of it, for a file."""
    swept = [
        {
            "threshold": point.threshold,
            "hold_rate": point.hold_rate,
            "wrong_released": point.effects.quality.wrong_released,
            "accuracy_released": point.accuracy_released,
        }
        for point in points
    ]
    policies_told = [asdict(each) | {"wrong_share": each.wrong_share} for each in figures]
    return {"weights_digest": model.weights_digest, "metric": METRIC.value, "policies": policies_told, "sweep": swept}


def main() -> None:
    """The command line."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.holding", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=TINY)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], action="append", help="only these kinds of questions")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model, kinds = load(given.checkpoint), [Kind(kind) for kind in given.kind] if given.kind else list(Kind)
    with TemporaryDirectory() as folder:
        figures, points = measured(model, questions(given.count, kinds), Path(folder))
    Console().print(table(figures, points))
    write_json(given.json, document(model, figures, points))


if __name__ == "__main__":
    main()
