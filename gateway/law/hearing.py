"""One request under the law: its gate in the engine, the rulings on its units, and the verdict on its finished answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

import policies
from audit.judgements import ReleaseDecision
from audit.records import Body, GateVerdict
from engine import gates
from gateway.law.record import released, unit_of
from policies.answer import Judged
from policies.standing import MISSING
from policies.verdicts import SHADOW

_NAMED: Final = ("rule:", "budget:")
"""Labels of what an administrator wrote, among those that shaped an admission."""

_HOLDING: Final = frozenset({policies.Verdict.HOLD, policies.Verdict.REFINE})
"""Rulings of a unit that may come to a hold: a block refined too often is held."""


@dataclass(frozen=True, slots=True)
class Law:
    """What a request was permitted, and the policy that permitted it, which judges it to its end."""

    policy: policies.Policy
    decision: policies.Decision

    @property
    def may_hold(self) -> bool:
        """Whether the answer may come to wait for people: by what was decided, by its units, or by what it turns out to be."""
        decision, rules = self.decision, self.policy.compiled.releases
        if self.policy.lifted is not None:
            return False
        units = not decision.verdicts.isdisjoint(_HOLDING)
        return decision.action is policies.Action.HOLD or units or any(rules[name].may_stop for name in decision.release_rules)

    def gate(self) -> gates.Gate | None:
        """The judge of units as the engine calls it; None where nothing can be ruled of them, nor is asked."""
        if not self.decision.verdicts:
            return None
        return gates.Gate(self._judge, frozenset(gates.Verdict(verdict.value) for verdict in self.decision.verdicts))

    def _judge(self, facts: gates.BlockFacts) -> gates.Ruling:
        ruling = policies.judge_block(self.policy, self.decision, policies.BlockFacts(**asdict(facts)))
        return gates.Ruling(gates.Verdict(ruling.verdict.value), ruling.rule, ruling.threshold, ruling.steps)


@dataclass(frozen=True, slots=True)
class Heard:
    """The verdict on an answer, the record that states it, and what a client is told beside an answer that leaves."""

    verdict: policies.Action
    body: ReleaseDecision
    annotations: tuple[str, ...]


class Hearing:
    """Hears the records of one generation and judges its answer when it is finished."""

    def __init__(self, law: Law) -> None:
        self._law = law
        self._units: list[Judged] = []

    def hear(self, bodies: Iterable[Body]) -> None:
        """Take in records as they are made; those of the gate count."""
        self._units += [unit_of(body) for body in bodies if isinstance(body, GateVerdict)]

    def judge(self, forwards: int, calls: tuple[policies.ToolCall, ...]) -> Heard:
        """The verdict on the answer that these units make; `forwards` counts its passes after prefill."""
        policy, decision = self._law.policy, self._law.decision
        answer = policies.kept(policy, decision, policies.summarise(self._units, calls, forwards))
        ruling = policies.judge_release(policy, decision, answer)
        annotations = self._annotations(ruling)
        return Heard(ruling.verdict, released(ruling, answer, annotations), annotations)

    def _annotations(self, ruling: policies.ReleaseRuling) -> tuple[str, ...]:
        """Labels of all that annotates this answer; what a shadow watches is for the record only."""
        admitted = self._law.decision
        silent = admitted.action is policies.Action.ALLOW
        found = [] if silent else [label for label in admitted.rules if label.startswith(_NAMED)]
        found += [judged.rule for _, judged in self._units if judged.verdict is policies.Verdict.ACCEPT and judged.rule]
        found += ruling.rules if ruling.verdict is policies.Action.ANNOTATE else ()
        return tuple(label for label in dict.fromkeys(found) if not label.startswith(SHADOW) and not self._allows(label))

    def _allows(self, label: str) -> bool:
        """Whether what has this label let the answer be: it was met, and remarks nothing."""
        compiled, name = self._law.policy.compiled, label.removeprefix(MISSING)
        rule = compiled.admits.get(name) or compiled.releases.get(name)
        return rule is not None and (rule.action if name == label else rule.on_missing) is policies.Action.ALLOW
