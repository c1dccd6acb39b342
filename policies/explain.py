"""Why a request was decided as it was: every route, budget, gate and rule, matched or why not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from policies.compiled import BUDGET, ROUTE, answer_modes, unit_modes
from policies.conditions import Condition, Facts
from policies.facts import UNCOUNTED, AnswerFacts, BlockFacts, RequestFacts
from policies.judge import decide
from policies.judge_block import judge_block, judged_mode
from policies.judge_release import judge_release
from policies.modes import Mode
from policies.policy import Policy
from policies.standing import Standing
from policies.verdicts import Decision, Refusal, ReleaseRuling, Ruling


class Match(StrEnum):
    """Whether something applies; `open` where that depends on text that is not there."""

    MATCHED = "matched"
    NOT_MATCHED = "not_matched"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Considered:
    """One thing that was asked: its label, what it demands, whether it applies, and each reason in words."""

    label: str
    demands: str
    match: Match
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict with all that was considered, in the order of the document; rulings for the unit and the answer given."""

    verdict: Decision | Refusal
    considered: tuple[Considered, ...]
    ruling: Ruling | None
    release: ReleaseRuling | None


def explain(
    policy: Policy, facts: RequestFacts, unit: BlockFacts | None = None, answer: AnswerFacts | None = None
) -> Explanation:
    """Explain one request, and if they are given, the ruling on one of its units and on its answer."""
    verdict = decide(policy, facts)
    decision = verdict if isinstance(verdict, Decision) else None
    return Explanation(
        verdict=verdict,
        considered=tuple(_considered(policy, facts, decision, unit, answer)),
        ruling=judge_block(policy, decision, unit) if decision and unit else None,
        release=judge_release(policy, decision, answer) if decision and answer else None,
    )


def _considered(
    policy: Policy, facts: RequestFacts, decision: Decision | None, unit: BlockFacts | None, answer: AnswerFacts | None
) -> Iterator[Considered]:
    compiled = policy.compiled
    taken = False
    for routed in compiled.routes:
        met, why = _conditions(routed.request, facts)
        if met and taken:
            met, why = False, (*why, "an earlier route is taken")
        taken = taken or met
        modes = ", ".join(mode.value for mode in routed.route.modes)
        yield Considered(ROUTE + routed.route.id, modes, Match.MATCHED if met else Match.NOT_MATCHED, why)
    for metered in compiled.budgets:
        yield _budget(metered.budget.id, metered.budget.on_exceed.value, metered.concerns(facts), facts)
    answering, judged = _in_question(policy, decision)
    for admit in compiled.admits.values():
        yield _standing(admit, facts, answering)
    for block in compiled.blocks.values():
        found = _standing(block, facts, judged)
        yield found if found.match is Match.NOT_MATCHED else _of_unit(block, found, decision, unit)
    for release in compiled.releases.values():
        found = _standing(release, facts, answering)
        yield found if found.match is Match.NOT_MATCHED else _of_answer(release, found, answer)


def _in_question(policy: Policy, decision: Decision | None) -> tuple[frozenset[Mode], frozenset[Mode]]:
    """The modes that a rule about the answer, and a gate on its units, may name; any, where none was chosen."""
    if decision is None:
        return frozenset(Mode), frozenset(Mode)
    permitted = policy.compiled.permitted if policy.lifted is None else policy.lifted.compiled.permitted
    return answer_modes(decision.mode, permitted), unit_modes(decision.mode, permitted)


def _budget(name: str, demands: str, concerned: bool, facts: RequestFacts) -> Considered:
    if not concerned:
        return Considered(BUDGET + name, demands, Match.NOT_MATCHED, ("the request's workflow does not draw on it",))
    if UNCOUNTED in facts.exceeded:
        return Considered(BUDGET + name, demands, Match.OPEN, ("nobody could count it for this request",))
    exceeded = name in facts.exceeded
    why = "it had no room for this request" if exceeded else "it had room for this request"
    return Considered(BUDGET + name, demands, Match.MATCHED if exceeded else Match.NOT_MATCHED, (why,))


def _standing(standing: Standing, facts: RequestFacts, modes: frozenset[Mode]) -> Considered:
    met, why = _conditions(standing.request, facts)
    named = not standing.modes.isdisjoint(modes)
    if not named:
        why = (*why, f"mode: asks one of {_listed(standing.modes)}, saw {_listed(modes)}: not met")
    return Considered(standing.label, standing.action.value, Match.MATCHED if met and named else Match.NOT_MATCHED, why)


def _of_unit(standing: Standing, found: Considered, decision: Decision | None, unit: BlockFacts | None) -> Considered:
    if decision is None or unit is None:
        asks = "every unit" if standing.threshold is None else f"every unit with {standing.threshold}"
        return Considered(found.label, found.demands, Match.OPEN, (*found.why, f"asks {asks} of {_listed(standing.modes)}"))
    mode = judged_mode(decision, unit.mode)
    demand = None if mode is None else standing.of_unit(mode, unit)
    saw = f"unit of {unit.tokens} tokens judged as {unit.mode if mode is None else mode.value}"
    return _decided(standing, found, demand, saw, unit)


def _of_answer(standing: Standing, found: Considered, answer: AnswerFacts | None) -> Considered:
    if answer is None:
        asks = [f"{condition.key} {condition.asks}" for condition in standing.answer]
        asks += [] if standing.threshold is None else [str(standing.threshold)]
        return Considered(
            found.label, found.demands, Match.OPEN, (*found.why, f"asks of the answer: {'; '.join(asks) or 'nothing'}")
        )
    _, why = _conditions(standing.answer, answer)
    return _decided(standing, found, standing.of_answer(answer), "; ".join(why) or "the answer", answer.figures)


def _decided(standing: Standing, found: Considered, demand: tuple[str, str] | None, saw: str, figures: object) -> Considered:
    figure = ""
    if standing.threshold is not None:
        value = standing.threshold.seen(figures)
        figure = f"; asks {standing.threshold}, saw {'nothing' if value is None else standing.threshold.told(value)}"
    matched = Match.NOT_MATCHED if demand is None else Match.MATCHED
    demands = found.demands if demand is None else str(demand[0])
    return Considered(found.label, demands, matched, (*found.why, saw + figure))


def _conditions(conditions: Iterable[Condition[Facts]], facts: Facts) -> tuple[bool, tuple[str, ...]]:
    met, why = True, []
    for condition in conditions:
        holds = condition.holds(facts)
        met = met and holds
        why.append(f"{condition.key}: asks {condition.asks}, saw {condition.sees(facts)}: {'met' if holds else 'not met'}")
    return met, tuple(why)


def _listed(modes: Iterable[str]) -> str:
    return ", ".join(sorted(str(mode) for mode in modes))
