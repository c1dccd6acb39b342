"""The laws of judging: the strictest demand wins, one more never weakens, tightening never loosens, only facts count."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from policies import (
    Action,
    AnswerFacts,
    BlockFacts,
    Decision,
    Document,
    Enforcement,
    Refusal,
    Release,
    RequestFacts,
    Ruling,
    Verdict,
    decide,
    judge_block,
    judge_release,
)
from policies.gates import Gate
from policies.policy import Policy, seal
from policies.rules import Rule
from policies.tighten import loosenings
from tests.policies import drawn

VERDICT_RANK = {verdict: rank for rank, verdict in enumerate(Verdict)}


def with_more(document: Document, gates: tuple[Gate, ...] = (), rules: tuple[Rule, ...] = ()) -> Policy:
    """The document with gates and rules added."""
    more = msgspec.structs.replace(document, gates=(*document.gates, *gates), rules=(*document.rules, *rules))
    return seal("more", more)


def admitted_rank(verdict: Decision | Refusal) -> int:
    """How strict an admission is; a refusal is a block."""
    return Action.BLOCK.rank if isinstance(verdict, Refusal) else verdict.action.rank


def assert_not_weaker(
    before: Policy, after: Policy, facts: RequestFacts, unit: BlockFacts, answer: AnswerFacts, alone: bool = True
) -> None:
    """Whatever `before` demands, `after` demands at least, at every stage."""
    was, now = decide(before, facts), decide(after, facts)
    assert admitted_rank(now) >= admitted_rank(was)
    if isinstance(was, Refusal) or isinstance(now, Refusal):
        return
    assert (was.release, now.release) != (Release.WHOLE, Release.STREAM)
    assert set(now.verdicts) >= set(was.verdicts) or not alone
    assert VERDICT_RANK[judge_block(after, now, unit).verdict] >= VERDICT_RANK[judge_block(before, was, unit).verdict]
    assert judge_release(after, now, answer).verdict.rank >= judge_release(before, was, answer).verdict.rank


@drawn.calm
@given(drawn.documents(), drawn.gates("more"), drawn.rules("more"), drawn.requests, drawn.units(), drawn.answers())
def test_adding_a_gate_or_a_rule_never_weakens(
    document: Document, gate: Gate, rule: Rule, facts: RequestFacts, unit: BlockFacts, answer: AnswerFacts
) -> None:
    """With one more gate, and with one more rule, every verdict is at least as strict as without."""
    before = seal("before", document)
    assert_not_weaker(before, with_more(document, gates=(gate,)), facts, unit, answer)
    assert_not_weaker(before, with_more(document, rules=(rule,)), facts, unit, answer)


@drawn.calm
@given(drawn.documents(), st.data(), drawn.requests, drawn.units(), drawn.answers())
def test_what_tighten_lets_through_never_loosens_a_verdict(
    parent: Document, data: st.DataObject, facts: RequestFacts, unit: BlockFacts, answer: AnswerFacts
) -> None:
    """Whatever a child changes: where `loosenings` finds nothing, no request, unit or answer meets a milder verdict."""
    child = data.draw(drawn.changes(parent))
    if not list(loosenings(parent, child)):
        assert_not_weaker(seal("parent", parent), seal("child", child), facts, unit, answer, alone=False)


@drawn.calm
@given(drawn.documents(), st.data(), drawn.requests, drawn.units(), drawn.answers())
def test_a_tighter_gate_is_no_loosening_and_never_milder(
    document: Document, data: st.DataObject, facts: RequestFacts, unit: BlockFacts, answer: AnswerFacts
) -> None:
    """Raising a threshold, naming more modes or demanding more is let through, and tightens every verdict."""
    gates = tuple(_tightened(gate, data) for gate in document.gates)
    child = msgspec.structs.replace(document, gates=gates)
    assert list(loosenings(document, child)) == []
    assert_not_weaker(seal("parent", document), seal("child", child), facts, unit, answer, alone=False)


def _tightened(gate: Gate, data: st.DataObject) -> Gate:
    stricter = [action for action in Action if action.rank >= gate.action.rank and action is not Action.REFINE]
    action = gate.action if gate.refine else data.draw(st.sampled_from(stricter))
    below = (gate.below or 0.0) + data.draw(st.floats(0, 2))
    return msgspec.structs.replace(gate, below=below, action=action, least_tokens=1)


@drawn.calm
@given(drawn.documents(), drawn.requests, drawn.units())
def test_the_strictest_demand_wins(document: Document, facts: RequestFacts, unit: BlockFacts) -> None:
    """A unit's ruling is the strictest of the rulings that each gate and rule would give alone."""
    together = seal("together", document)
    decision = decide(together, facts)
    if isinstance(decision, Refusal):
        return
    ruling = judge_block(together, decision, unit)
    alone = [_alone(document, label, facts, unit) for label in decision.block_rules]
    ranks = [VERDICT_RANK[each.verdict] for each in alone]
    assert VERDICT_RANK[ruling.verdict] == max(ranks, default=0)
    named = [each for each in alone if each.rule and each.verdict is ruling.verdict]
    assert ruling.verdict is Verdict.ACCEPT or {each.rule for each in named} == set(ruling.rule.split(", "))
    assert ruling.verdict in decision.verdicts or not decision.block_rules


def _alone(document: Document, label: str, facts: RequestFacts, unit: BlockFacts) -> Ruling:
    gates = tuple(gate for gate in document.gates if label == f"gate:{gate.id}")
    rules = tuple(rule for rule in document.rules if label == f"rule:{rule.id}")
    policy = seal("alone", msgspec.structs.replace(document, gates=gates, rules=rules))
    decision = decide(policy, facts)
    assert isinstance(decision, Decision)
    return judge_block(policy, decision, unit)


@drawn.calm
@given(drawn.documents(), drawn.requests, drawn.units(), drawn.answers())
def test_the_judge_is_a_function(document: Document, facts: RequestFacts, unit: BlockFacts, answer: AnswerFacts) -> None:
    """The same document and facts give the same verdicts, from one policy asked twice and from two policies alike."""
    first, second = seal("first", document), seal("first", document)
    verdicts = [decide(policy, facts) for policy in (first, first, second)]
    assert verdicts[0] == verdicts[1] == verdicts[2]
    if isinstance(verdicts[0], Decision):
        decision = verdicts[0]
        assert judge_block(first, decision, unit) == judge_block(second, decision, unit)
        assert judge_release(first, decision, answer) == judge_release(second, decision, answer)


@drawn.calm
@given(drawn.documents(), drawn.requests, drawn.units(), drawn.answers())
def test_what_may_stop_an_answer_keeps_it_whole(
    document: Document, facts: RequestFacts, unit: BlockFacts, answer: AnswerFacts
) -> None:
    """An answer that streams is never held or blocked afterwards, and every ruling is among those that were declared."""
    policy = seal("drawn", document)
    decision = decide(policy, facts)
    if isinstance(decision, Refusal):
        return
    ruling = judge_block(policy, decision, unit)
    if decision.block_rules:
        assert ruling.verdict in decision.verdicts
    else:
        assert ruling == Ruling(Verdict.ACCEPT) and decision.verdicts <= {Verdict.ACCEPT}
    if decision.release is Release.STREAM:
        assert ruling.verdict not in (Verdict.HOLD, Verdict.BLOCK)
        unheld = AnswerFacts(answer.figures, answer.calls)
        assert judge_release(policy, decision, unheld).verdict in (Action.ALLOW, Action.ANNOTATE)


@drawn.calm
@given(drawn.documents(), drawn.requests, drawn.units(), drawn.answers())
def test_a_shadow_only_watches(document: Document, facts: RequestFacts, unit: BlockFacts, answer: AnswerFacts) -> None:
    """Under shadow everything is accepted and released, and what would have been is named wherever it would have been."""
    enforced = seal("enforced", document)
    shadow = seal("shadow", msgspec.structs.replace(document, enforcement=Enforcement.SHADOW))
    decision = decide(shadow, facts)
    assert isinstance(decision, Decision)
    assert (decision.action, decision.release, decision.obligations) == (Action.ALLOW, Release.STREAM, ())
    ruling = judge_block(shadow, decision, unit)
    assert ruling.verdict is Verdict.ACCEPT and (not ruling.rule or ruling.rule.startswith("shadow:"))
    released = judge_release(shadow, decision, answer)
    assert released.verdict is Action.ALLOW and all(rule.startswith("shadow:") for rule in released.rules)
    real = decide(enforced, facts)
    assert {f"shadow:{rule}" for rule in real.rules} <= set(decision.rules)
    assert decision.budgets == (real.budgets if isinstance(real, Decision) else ())
    if isinstance(real, Decision) and real.mode is decision.mode:
        acted = judge_block(enforced, real, unit)
        assert acted.verdict is Verdict.ACCEPT or ruling.rule == f"shadow:{acted.verdict.value}:{acted.rule}"
