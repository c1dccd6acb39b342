"""The evidence beside an answer, in the order in which a careful person asks: why, which gates, how made, whose hands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import policies
from audit.errors import AuditError
from audit.judgements import ReleaseDecision
from audit.ledger import log_origin
from audit.note import decode_vkey
from audit.proof import check_proof
from audit.signer import Signer
from gateway.errors import NotHere
from gateway.house import House
from gateway.review.figures import Figure, figures_of
from gateway.review.review import last
from gateway.review.stages import Denoised, Scored, frames_of
from gateway.ui.reviewing.reading import Reading
from policies.compiled import BUDGET, GATE
from policies.standing import MISSING

_RULE: Final = "rule:"


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that had a word in the verdict: its label, and what it says of itself."""

    label: str
    told: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure as it is drawn: `told` is the value and its threshold, the rest are places from 0 to 1."""

    name: str
    told: str
    fill: float
    tick: float | None
    tone: str
    by: str


@dataclass(frozen=True, slots=True)
class Made:
    """How an answer was made, in counts."""

    blocks: int
    steps: int
    again: int
    """Blocks that a gate had drafted anew."""
    kept: int
    drafted: int


@dataclass(frozen=True, slots=True)
class Proven:
    """Whether signed checkpoints of the log hold all records of a generation: up to which size, and what is wrong if not."""

    size: int
    trouble: str = ""

    @property
    def verified(self) -> bool:
        """Whether all of it is proven."""
        return self.size > 0 and not self.trouble


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the evidence column shows."""

    verdict: str
    reasons: tuple[Reason, ...]
    bars: tuple[Bar, ...]
    made: Made


def evidence_of(reading: Reading) -> Evidence:
    """All that the records of a generation tell."""
    decision = last(ReleaseDecision, reading.bodies)
    reasons = tuple(_reasons(decision, reading.document))
    figures = figures_of(reading.bodies, reading.document)
    verdict = "" if decision is None else decision.verdict
    return Evidence(verdict, reasons, tuple(map(_bar, figures)), _made(reading))


def _reasons(decision: ReleaseDecision | None, document: policies.Document | None) -> Iterator[Reason]:
    if decision is None:
        return
    due = [label for each in decision.due for label in each.because]  # of a held answer all; its rules name what let it be too
    for label in dict.fromkeys(due or (*decision.held_by, *decision.blocked_by, *decision.rules)):
        yield Reason(label, _said(label, document))


def _said(label: str, document: policies.Document | None) -> str:
    """The reason that the policy gives for what has this label."""
    if document is None:
        return ""
    gates = {GATE + gate.id: gate.reason for gate in document.gates}
    rules = {_RULE + rule.id: rule.reason for rule in document.rules}
    return (gates | rules).get(label.removeprefix(MISSING), "a budget has no room" if label.startswith(BUDGET) else "")


def _bar(figure: Figure) -> Bar:
    threshold = figure.below if figure.below is not None else figure.above
    told = f"{figure.value:.2f}" if threshold is None else f"{figure.value:.2f} / {threshold:.2f}"
    unit = " nats" if figure.unit == "nats" else ""
    tone = "plain" if threshold is None else "hold" if figure.crossed else "good"
    return Bar(figure.name, told + unit, figure.fill, next(iter(figure.ticks), None), tone, figure.label)


def _made(reading: Reading) -> Made:
    review = reading.review
    frames = [frame for _, frame in frames_of(review.stages)]
    kept, drafted = review.guesses
    return Made(
        blocks=sum(isinstance(frame, Scored) for frame in frames),
        steps=sum(isinstance(frame, Denoised) for frame in frames),
        again=sum(stage.turned_down for stage in review.stages),
        kept=kept,
        drafted=drafted,
    )


async def proven(house: House, tenant: str, generation: UUID) -> Proven:
    """Ask the log, not the database: are all records of a generation under a checkpoint that the log signed? Raises NotHere."""
    return await asyncio.to_thread(_proven, house, tenant, generation)


def _proven(house: House, tenant: str, generation: UUID) -> Proven:
    origin = log_origin(house.settings.origin, tenant)
    try:
        proofs = house.evidence.proofs(tenant, generation)
        if not proofs:
            raise NotHere("There is no generation of this id that you may see.")
        covered = [each for each in proofs if each.proof is not None]
        if len(covered) < len(proofs):
            return Proven(0)
        signer = Signer(house.settings.keys, origin)
        keys = [decode_vkey(vkey) for vkey in (*signer.vkeys, *signer.former)]
        checked = check_proof(covered[-1].proof or "", covered[-1].header, keys, origin)
    except AuditError as error:
        return Proven(0, str(error))
    return Proven(checked.checkpoint.size)
