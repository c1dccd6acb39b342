"""A document made ready for the judge, once, when it is loaded: everything that does not depend on a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from policies.conditions import Condition, of_answer, of_request, of_workflow
from policies.document import Document
from policies.facts import RequestFacts
from policies.gates import Gate, Refine
from policies.limits import Budget
from policies.modes import CAUSAL, CONCRETE, Knobs, Mode, canonical_modes
from policies.rules import Route, Rule
from policies.standing import Standing, Threshold
from policies.verdicts import VERDICTS
from policies.words import AGAIN, Action, Phase

GATE: Final = "gate:"
RULE: Final = "rule:"
ROUTE: Final = "route:"
BUDGET: Final = "budget:"


@dataclass(frozen=True, slots=True)
class Routed:
    """A route, what it asks of a request, and how each of its modes is tuned under it."""

    route: Route
    request: tuple[Condition[RequestFacts], ...]
    knobs: dict[Mode, Knobs]

    def concerns(self, facts: RequestFacts) -> bool:
        """Whether the request is one for this route."""
        return all(condition.holds(facts) for condition in self.request)


@dataclass(frozen=True, slots=True)
class Metered:
    """A budget, and whom it concerns."""

    budget: Budget
    workflow: Condition[RequestFacts] | None

    def concerns(self, facts: RequestFacts) -> bool:
        """Whether the request draws on it."""
        return self.workflow is None or self.workflow.holds(facts)


@dataclass(frozen=True, slots=True)
class Meeting:
    """The gates and rules that a request in one mode may meet, by phase."""

    admits: tuple[Standing, ...]
    blocks: tuple[Standing, ...]
    releases: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the judge asks: gates and rules by label, and by the mode that a request is granted.

    `may_meet` is for the modes that the document permits, `watched` for a shadow, whose requests may run in any.
    """

    routes: tuple[Routed, ...]
    admits: dict[str, Standing]
    blocks: dict[str, Standing]
    releases: dict[str, Standing]
    budgets: tuple[Metered, ...]
    permitted: tuple[Mode, ...]
    choices: tuple[Mode, ...]
    knobs: dict[Mode, Knobs]
    may_meet: dict[Mode, Meeting]
    watched: dict[Mode, Meeting]


def compile_document(document: Document) -> Compiled:
    """Make a document ready; it is taken as it is, whether or not `check` would accept it."""
    gates = [_gate(document, gate) for gate in document.gates]
    permitted = canonical_modes(document.modes.allowed)
    rules = {phase: [_rule(document, rule) for rule in document.rules if rule.phase is phase] for phase in Phase}
    phases = (rules[Phase.ADMIT], [*gates, *rules[Phase.BLOCK]], rules[Phase.RELEASE])
    admits, blocks, releases = (_by_label(standing) for standing in phases)
    knobs = {mode: document.modes.knobs(mode) for mode in document.modes.choices}
    return Compiled(
        routes=tuple(_routed(document, route, knobs) for route in document.routes),
        admits=admits,
        blocks=blocks,
        releases=releases,
        budgets=tuple(
            Metered(budget, None if budget.workflow is None else of_workflow((budget.workflow,))) for budget in document.budgets
        ),
        permitted=permitted,
        choices=document.modes.choices,
        knobs=knobs,
        may_meet={mode: _meeting(mode, permitted, phases) for mode in Mode},
        watched={mode: _meeting(mode, CONCRETE, phases) for mode in Mode},
    )


def unit_modes(mode: Mode, permitted: Iterable[Mode]) -> frozenset[Mode]:
    """The modes by whose gates the units of a generation in `mode` may be judged."""
    allowed = frozenset(permitted)
    if mode is Mode.AUTO:
        return allowed & frozenset(CAUSAL)
    if mode is Mode.DIFFUSION:  # a constrained answer runs as linear_spec, a block decoded again is ar
        return frozenset({mode}) | (allowed & {Mode.LINEAR_SPEC, Mode.AR})
    return frozenset({mode})


def answer_modes(mode: Mode, permitted: Iterable[Mode]) -> frozenset[Mode]:
    """The modes that a rule may name to concern an answer in `mode`: `auto` is also whatever it may choose."""
    return unit_modes(mode, permitted) | {mode} if mode is Mode.AUTO else frozenset({mode})


def _meeting(mode: Mode, permitted: Iterable[Mode], phases: Iterable[Iterable[Standing]]) -> Meeting:
    units, answers = unit_modes(mode, permitted), answer_modes(mode, permitted)
    found = [
        tuple(each for each in standing if not each.modes.isdisjoint(modes))
        for standing, modes in zip(phases, (answers, units, answers), strict=True)
    ]
    return Meeting(*found)


def _by_label(standing: Iterable[Standing]) -> dict[str, Standing]:
    return {each.label: each for each in standing}


def _routed(document: Document, route: Route, knobs: Mapping[Mode, Knobs]) -> Routed:
    """A route, with its knobs in the place of those of the mode."""

    def tuned(mode: Knobs) -> Knobs:
        return Knobs(
            block_length=route.block_length or mode.block_length,
            threshold=route.threshold or mode.threshold,
            max_steps=route.max_steps or mode.max_steps,
            seed_first=route.seed_first or mode.seed_first,
        )

    known = {mode: tuned(knobs[mode]) for mode in route.modes if mode in knobs}
    return Routed(route, of_request(route.when, document.risk_unsaid), known)


def _gate(document: Document, gate: Gate) -> Standing:
    missing, modes = gate.on_missing or document.on_missing, frozenset(gate.modes)
    possible = _possible(gate.action, gate.refine, missing, modes)
    return Standing(
        label=GATE + gate.id,
        action=gate.action,
        modes=modes,
        threshold=Threshold(gate.metric.value, gate.below, gate.above),
        least_tokens=gate.least_tokens,
        refine=gate.refine,
        on_missing=missing,
        approval=gate.approval,
        reason=gate.reason,
        verdicts=frozenset(map(VERDICTS.__getitem__, possible)),
        may_stop=any(action.stops for action in possible),
    )


def _rule(document: Document, rule: Rule) -> Standing:
    when, missing = rule.when, rule.on_missing or document.on_missing
    modes = frozenset(Mode if when.mode is None else when.mode)
    possible = _possible(rule.action, rule.refine, rule.action if when.metric is None else missing, modes)
    return Standing(
        label=RULE + rule.id,
        action=rule.action,
        modes=modes,
        request=of_request(when, document.risk_unsaid),
        answer=of_answer(when),
        threshold=None if when.metric is None else Threshold(when.metric.value, when.below, when.above),
        refine=rule.refine,
        on_missing=missing,
        paths=when.paths or (),
        approval=rule.approval,
        reason=rule.reason,
        verdicts=frozenset(map(VERDICTS.__getitem__, possible)),
        may_stop=any(action.stops for action in possible),
    )


def _possible(action: Action, refine: Refine | None, missing: Action, modes: frozenset[Mode]) -> frozenset[Action]:
    """Everything that can be demanded; what is no diffusion block is held where it cannot be decoded again."""
    demands = {action, missing, *(() if refine is None else (refine.then,))}
    causal = demands.intersection(AGAIN) and modes != {Mode.DIFFUSION}
    return frozenset(demands | {Action.HOLD}) if causal else frozenset(demands)
