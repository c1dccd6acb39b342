"""From rows and records to the documents of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from audit.approvals import Delegation
from audit.blocks import BlockTrace
from audit.records import DecodeRun, SpecRoundTrace
from audit.trace import Step
from gateway.api import act_forms, forms
from gateway.approvals.case import Case
from gateway.approvals.lending import Term
from gateway.projections.economics import Day, Economics, by_mode
from gateway.projections.folding import Stage, Told, moment
from gateway.projections.queue import Counts, Waiting

Spell: TypeAlias = Callable[[Sequence[int]], str]
"""What ids spell; a part of a character is U+FFFD, and a mask is nothing."""


def generation(row: Told) -> forms.Generation:
    """A row of the search."""
    plain = {name: getattr(row, name) for name in forms.Generation.__struct_fields__}
    digest = None if row.policy_digest is None else row.policy_digest.hex()
    return forms.Generation(**{**plain, "state": Stage(row.state), "policy_digest": digest, "money": money(row.money)})


def money(amount: Decimal) -> str:
    """An amount in digits and a point: a text of `str` may have an exponent."""
    return f"{amount:f}"


def approval(row: Waiting) -> forms.Approval:
    """A row of the queue."""
    plain = {name: getattr(row, name) for name in forms.Approval.__struct_fields__}
    lists = {"contributors": list(row.contributors), "decided_by": list(row.decided_by), "needed": needed(row.needed)}
    return forms.Approval(**{**plain, **lists, "policy_digest": row.policy_digest.hex()})


def needed(each: Sequence[Mapping[str, Any]]) -> list[forms.Needed]:
    """Obligations, by field."""
    lists = ("because", "groups")
    return [forms.Needed(**{**one, **{name: list(one[name]) for name in lists}}) for one in each]


def counts(found: Counts) -> forms.Counts:
    """What waits."""
    return forms.Counts(found.pending, found.approved, found.mine, found.unassigned, found.soon)


def case(found: Case) -> forms.Case:
    """A held answer by its records."""
    cycle = found.opened
    return forms.Case(
        generation=found.generation,
        state=found.state,
        cycle=cycle.cycle,
        content_sha256=cycle.content_sha256.hex(),
        binding=cycle.binding.hex(),
        policy_digest=cycle.policy_digest.hex(),
        weights_digest=cycle.weights_digest.hex(),
        first_seq=cycle.first_seq,
        last_seq=cycle.last_seq,
        requester=cycle.requester,
        contributors=list(cycle.contributors),
        expires_at=moment(cycle.expires_at),
        on_expire=cycle.on_expire,
        needed=needed([{name: getattr(one, name) for name in forms.Needed.__struct_fields__} for one in cycle.needed]),
        signatures=[signed(each.seq, each.ts, each.decided) for each in found.signatures],
        words=found.words,
        broke_glass=found.broke_glass,
    )


def signed(seq: int, ts: int, decided: Any) -> forms.Signed:
    """A decision."""
    names = (name for name in forms.Signed.__struct_fields__ if name not in ("seq", "at"))
    return forms.Signed(seq=seq, at=moment(ts), **{name: getattr(decided, name) for name in names})


def delegation(found: Delegation) -> act_forms.Delegation:
    """A delegation, as it stands now."""
    return act_forms.Delegation(
        found.delegation, found.requested_by, found.to, list(found.groups), moment(found.starts_at), moment(found.ends_at),
        found.reason, Term.of(found),
    )  # fmt: skip


def case_state(found: Case) -> forms.CaseState:
    """How it stands, for whoever asked for the answer."""
    return forms.CaseState(
        found.generation, found.state, found.opened.cycle, moment(found.opened.expires_at), found.words
    )  # fmt: skip


def block(seq: int, found: BlockTrace, text: Spell) -> forms.Block:
    """A block without its steps."""
    return forms.Block(
        seq=seq,
        index=found.index,
        start=found.start,
        seeded=found.seeded,
        steps=found.steps.steps,
        ids=list(found.tokens),
        text=text(found.tokens),
        commit_confidence=list(found.commit_confidence),
        verifier_logprob=list(found.verifier_logprob),
        agreement=list(found.agreement),
        emitted=found.emitted,
        forwards=found.forwards,
        complete=found.complete,
    )


def round_of(seq: int, found: SpecRoundTrace, text: Spell) -> forms.Round:
    """A round of speculation."""
    return forms.Round(
        seq=seq,
        index=found.index,
        start=found.start,
        draft=list(found.draft),
        draft_text=text(found.draft),
        draft_confidence=list(found.draft_confidence),
        verified=list(found.verified),
        verified_text=text(found.verified),
        accepted=found.accepted,
        output=list(found.output),
        output_text=text(found.output),
        logprob=list(found.logprob),
        forwards=found.forwards,
        complete=found.complete,
    )


def run(seq: int, found: DecodeRun, text: Spell) -> forms.Run:
    """Tokens that were decoded one after the other."""
    return forms.Run(seq, found.start, list(found.output), text(found.output), list(found.logprob))


def step(seq: int, block_index: int, index: int, found: Step, text: Spell) -> forms.BlockStep:
    """One intermediate state."""
    proposal = list(found.proposal)
    return forms.BlockStep(
        seq, block_index, index, list(found.masked), proposal, text(proposal), list(found.confidence), list(found.committed)
    )


def economy(found: Economics) -> forms.Economy:
    """Sums of one mode."""
    sums = found.sums
    return forms.Economy(
        mode=found.mode,
        currency=found.currency,
        generations=sums.generations,
        prompt_tokens=sums.prompt_tokens,
        tokens=sums.tokens,
        forwards=sums.forwards,
        tokens_per_forward=found.tokens_per_forward,
        seconds=found.seconds,
        busy_seconds=found.busy_seconds,
        held=sums.held,
        held_share=found.held_share,
        money=money(sums.money),
    )


def economy_days(found: Sequence[Day]) -> tuple[list[forms.Economy], list[forms.EconomyDay]]:
    """Sums by mode, and day by day."""
    days: dict[Any, list[forms.Economy]] = {}
    for each in found:
        days.setdefault(each.day, []).append(economy(each.figures))
    return [economy(each) for each in by_mode(found)], [forms.EconomyDay(day, modes) for day, modes in days.items()]
