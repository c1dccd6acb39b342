"""Traffic of a made-up engine under a policy: requests, units, rulings, answers and what a person found, as recorded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from random import Random

from policies import (
    Admission,
    BlockFacts,
    Decision,
    Human,
    Mode,
    Policy,
    RequestFacts,
    Row,
    ToolCall,
    Usage,
    Verdict,
    called,
    decide,
    judge_block,
    judge_release,
    summarise,
)
from policies.answer import Judged
from policies.windows import WEEK
from tests.policies.facts import PLAIN

WORKFLOWS = (None, "release-9", "hotfix-1", "completion", "invoices", "refunds", "hardship", "contracts-eu", "chat")
TOOLS = ("bash", "edit", "refund_order", "read")
PATHS = ("src/app/main.py", ".github/workflows/ci.yml", "/etc/passwd", "docs/a.md", "config/secrets/key", "~/.ssh/id_ed25519")


def rows(policy: Policy, count: int, seed: int = 7) -> list[Row]:
    """`count` recorded requests; the same seed gives the same ones."""
    random = Random(seed)
    return [_row(policy, random, index) for index in range(count)]


def _row(policy: Policy, random: Random, index: int) -> Row:
    facts = _facts(policy, random)
    verdict = decide(policy, facts)
    row = Row(id=f"r{index}", day=index // 100, facts=facts, admission=Admission.of(verdict))
    if not isinstance(verdict, Decision):
        return row
    wrong = random.random() < 0.3
    units = tuple(_units(policy, verdict, random, wrong))
    calls = _calls(facts, random)
    answer = summarise(units, calls, forwards=sum(unit.steps for unit, _ in units))
    return replace(
        row,
        units=units,
        answer=answer,
        release=judge_release(policy, verdict, answer),
        usage=Usage(facts.prompt_tokens, answer.figures.tokens, answer.figures.forwards, Decimal("0.25")),
        human=Human(good=not wrong, seconds=random.choice((None, 60.0, 90.0))) if random.random() < 0.6 else None,
    )


def _facts(policy: Policy, random: Random) -> RequestFacts:
    tenant = policy.document.tenant
    return replace(
        PLAIN,
        tenant="acme" if tenant == "*" else tenant,
        requested_mode=random.choice((None, None, None, "ar", "diffusion", "auto", "telepathy")),
        workflow=random.choice(WORKFLOWS),
        risk=random.choice((None, "low", "medium", "high", "hihg")),
        block_length=random.choice((None, 8, 99)),
        groups=tuple(group for group in ("engineers", "night-shift") if random.random() < 0.5),
        tools=tuple(tool for tool in TOOLS if random.random() < 0.4),
        latency_target_ms=random.choice((None, 200, 5000)),
        minute_of_week=random.choice((None, random.randrange(WEEK))),
        exceeded=tuple(budget.id for budget in policy.document.budgets if random.random() < 0.05),
    )


def _units(policy: Policy, decision: Decision, random: Random, wrong: bool) -> Iterator[Judged]:
    """Units as the engine would make them: a block that is turned down comes again, refined or from `ar`."""
    for index in range(random.randrange(1, 6)):
        attempt, mode = 0, _mode_of(decision, random)
        while True:
            unit = _unit(random, index, mode, attempt, wrong)
            ruling = judge_block(policy, decision, unit)
            yield unit, ruling
            if ruling.verdict is Verdict.REFINE:
                attempt += 1
            elif ruling.verdict is Verdict.REDO_AR:
                mode, attempt = "ar", 0
            else:
                break
        if ruling.verdict is Verdict.BLOCK:
            return


def _mode_of(decision: Decision, random: Random) -> str:
    """What the engine says of a unit: it knows `ar`, `linear_spec` and `diffusion` only."""
    if decision.mode in (Mode.DIFFUSION, Mode.AR):
        return decision.mode.value
    return random.choice(("ar", "linear_spec"))


def _unit(random: Random, index: int, mode: str, attempt: int, wrong: bool) -> BlockFacts:
    worse = 0.6 if wrong and random.random() < 0.5 else 1.0
    denoised, speculated = mode == "diffusion", mode == "linear_spec" and random.random() < 0.9
    return BlockFacts(
        index=index,
        start=10 + 16 * index,
        mode=mode,
        tokens=random.randrange(1, 33),
        attempt=attempt,
        steps=random.randrange(1, 33),
        revisions=attempt * 4,
        logprob_mean=single(-random.expovariate(4 * worse)),
        logprob_min=single(-random.expovariate(0.5 * worse)),
        confidence_mean=single(worse * random.uniform(0.7, 1.0)) if denoised else None,
        confidence_min=single(worse * random.uniform(0.4, 1.0)) if denoised else None,
        agreement=single(worse * random.uniform(0.7, 1.0)) if denoised else None,
        acceptance=single(random.random()) if speculated else None,
    )


def _calls(facts: RequestFacts, random: Random) -> tuple[ToolCall, ...]:
    names = [tool for tool in facts.tools if random.random() < 0.5]
    return tuple(called(name, f'{{"path": "{random.choice(PATHS)}"}}') for name in names)


def single(value: float) -> float:
    """The value as it is recorded: float32."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])
