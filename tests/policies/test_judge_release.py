"""The judge of answers: tools called, paths, figures of the whole, held units, obligations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from policies import (
    Action,
    AnswerFacts,
    BlockFacts,
    Decision,
    Document,
    Policy,
    Release,
    ReleaseRuling,
    RequestFacts,
    Ruling,
    ToolCall,
    Verdict,
    called,
    decide,
    judge_release,
    kept,
    summarise,
)
from policies.answer import Judged
from policies.policy import seal
from tests.policies import drawn
from tests.policies.documents import allowed, policy
from tests.policies.facts import PLAIN

UNIT = BlockFacts(0, 10, "diffusion", 10, 0, 8, 0, -0.5, -2.0, 0.75, 0.5, 1.0)
RULE = '[[rules]]\nid = "r"\nphase = "release"\naction = "hold"\n'
APPROVALS = '[approvals.boss]\ngroups = ["red"]\nquorum = 2\n[approvals.clerk]\nedit_allowed = true\n'
ACCEPT, HOLD = Ruling(Verdict.ACCEPT), Ruling(Verdict.HOLD, "gate:g, gate:h")


def released(of: Policy, answer: AnswerFacts, **facts: object) -> ReleaseRuling:
    """The ruling on an answer to a request with these facts."""
    return judge_release(of, allowed(of, replace(PLAIN, **facts)), answer)  # type: ignore[arg-type]


def answering(*calls: ToolCall) -> AnswerFacts:
    """An answer of one unit that calls these tools."""
    return summarise([(UNIT, ACCEPT)], calls, forwards=9)


@pytest.mark.parametrize(
    ("when", "calls", "held"),
    [
        ('tools_called = ["bash", "exec_*"]', [("Exec_command", "{}")], True),
        ('tools_called = ["bash"]', [("edit", "{}")], False),
        ('tools_called = ["*"]', [], False),
        ('paths = ["secrets/**"]', [("edit", '{"path": "a/secrets/b"}')], True),
        ('paths = ["secrets/**"]', [("edit", '{"path": "a/b"}'), ("bash", '{"cmd": "cat secrets/x"}')], True),
        ('paths = ["secrets/**"]', [("edit", '{"path": "a/b"}')], False),
        ('paths = ["*.py"], tools_called = ["bash"]', [("edit", '{"path": "a.py"}')], False),
        ('metric = "tokens", above = 9.0', [], True),
        ('metric = "logprob_mean", below = -0.6', [], False),
        ('metric = "acceptance", below = 0.5', [], True),
    ],
)
def test_rules_about_answers(when: str, calls: list[tuple[str, str]], held: bool) -> None:
    """A rule holds an answer for the tools it calls, the paths these name, its figures, or a figure that it has not."""
    found = policy(RULE + f"when = {{ {when} }}\n")
    ruling = released(found, answering(*(called(name, arguments) for name, arguments in calls)))
    assert (ruling.verdict is Action.HOLD) is held
    assert [obligation.name for obligation in ruling.obligations] == ["default"] * held
    missing = "metric_missing:" if "acceptance" in when else ""
    assert ruling.rules == ((f"{missing}rule:r",) if held else ())


def test_arguments_that_were_not_kept_count_as_any_path() -> None:
    """A call whose arguments cannot be read meets every rule on paths."""
    found = policy(RULE + 'when = { paths = ["secrets/**"] }\n')
    assert released(found, answering(ToolCall("edit", readable=False))).verdict is Action.HOLD


def test_every_hold_brings_its_obligation() -> None:
    """Holds of admission, of units and of the answer all bind: one obligation for each approval, with all that asked for it."""
    gates = '[[gates]]\nid = "%s"\nmodes = ["diffusion"]\nmetric = "tokens"\nabove = 1.0\naction = "hold"\napproval = "%s"\n'
    admit = RULE.replace('"r"', '"a"').replace("release", "admit") + 'approval = "clerk"\n'
    found = policy(gates % ("g", "boss") + gates % ("h", "default") + admit + RULE + 'approval = "boss"\n' + APPROVALS)
    ruling = released(found, summarise([(UNIT, HOLD)]))
    assert ruling.verdict is Action.HOLD and ruling.rules == ("gate:g", "gate:h", "rule:r")
    assert {each.name: each.because for each in ruling.obligations} == {
        "clerk": ("rule:a",),
        "boss": ("gate:g", "rule:r"),
        "default": ("gate:h",),
    }
    boss = next(each.approval for each in ruling.obligations if each.name == "boss")
    assert (boss.groups, boss.quorum) == (("red",), 2)
    assert found.document.approval("default").separation_of_duties


def test_a_block_leaves_nothing_to_approve() -> None:
    """Where anything blocks, the answer is blocked, and nobody is asked for an approval."""
    found = policy(RULE + RULE.replace('"r"', '"s"').replace("hold", "block"))
    assert released(found, answering()) == ReleaseRuling(Action.BLOCK, (), ("rule:r", "rule:s"))
    blocked = summarise([(UNIT, ACCEPT), (UNIT, Ruling(Verdict.BLOCK, "gate:g"))])
    assert released(policy(""), blocked).verdict is Action.BLOCK


def test_an_admission_that_holds_keeps_the_answer_whole() -> None:
    """A rule of admission that holds says so in the decision: action, obligation, and a release of the whole."""
    found = policy(RULE.replace("release", "admit") + 'when = { risk = ["high"] }\n')
    decision = allowed(found, replace(PLAIN, risk="HIGH"))
    assert (decision.action, decision.release) == (Action.HOLD, Release.WHOLE)
    assert [each.because for each in decision.obligations] == [("rule:r",)] and "rule:r" in decision.rules
    assert judge_release(found, decision, answering()).verdict is Action.HOLD
    assert (allowed(found).action, allowed(found).release) == (Action.ALLOW, Release.STREAM)


@pytest.mark.parametrize(
    ("rule", "tools", "release"),
    [
        ('phase = "release"\naction = "hold"\nwhen = { has_tools = true }\n', (), Release.STREAM),
        ('phase = "release"\naction = "hold"\nwhen = { has_tools = true }\n', ("bash",), Release.WHOLE),
        ('phase = "release"\naction = "annotate"\n', (), Release.STREAM),
        ('phase = "release"\naction = "annotate"\nwhen = { metric = "tokens", above = 9.0 }\n', (), Release.WHOLE),
        ('phase = "block"\naction = "redo_ar"\nwhen = { mode = ["diffusion"] }\n', (), Release.STREAM),
        ('phase = "block"\naction = "hold"\nwhen = { mode = ["ar"] }\n', (), Release.WHOLE),
        ('phase = "block"\naction = "hold"\nwhen = { mode = ["quadratic_spec"] }\n', (), Release.STREAM),
    ],
)
def test_whole_is_derived_from_what_can_be_reached(rule: str, tools: tuple[str, ...], release: Release) -> None:
    """An answer streams unless a rule that this very request can reach may hold or block it, a missing figure included.

    A block that is decoded again is `ar`, and a constrained one runs as `linear_spec`; nothing denoised is `quadratic_spec`.
    """
    found = policy('[[rules]]\nid = "r"\n' + rule)
    assert allowed(found, replace(PLAIN, tools=tools)).release is release


def test_an_answer_under_another_policy_is_held() -> None:
    """What was permitted under one policy is not released by another: it is held, and the ruling says why."""
    ruling = judge_release(policy(RULE), allowed(policy("")), answering())
    assert (ruling.verdict, ruling.rules, len(ruling.obligations)) == (Action.HOLD, ("policy_changed",), 1)


def test_figures_of_an_answer_are_those_of_its_output() -> None:
    """Sums, least values and means by tokens go over the units that gave output; what was turned down counts as such."""
    redone = replace(UNIT, tokens=6)
    again = replace(UNIT, mode="ar", tokens=6, logprob_mean=-1.0, logprob_min=-4.0,
                    confidence_mean=None, confidence_min=None, agreement=None)  # fmt: skip
    refined = replace(UNIT, attempt=1, tokens=4, confidence_min=0.25, revisions=3)
    units: list[Judged] = [
        (UNIT, ACCEPT),
        (redone, Ruling(Verdict.REDO_AR, "gate:g")),
        (again, Ruling(Verdict.HOLD, "gate:h")),
        (replace(UNIT, tokens=4), Ruling(Verdict.REFINE, "gate:g", 0.9, 4)),
        (refined, ACCEPT),
    ]
    answer = summarise(units, forwards=50)
    figures = answer.figures
    assert (figures.tokens, figures.steps, figures.revisions, figures.attempt, figures.forwards) == (20, 24, 3, 1, 50)
    assert figures.logprob_mean == pytest.approx((10 * -0.5 + 6 * -1.0 + 4 * -0.5) / 20)
    assert (figures.logprob_min, figures.confidence_min, figures.acceptance) == (-4.0, 0.25, None)
    assert figures.confidence_mean == 0.75
    assert (figures.refined_share, figures.redone_share, figures.held_share) == (1 / 3, 0.3, 1 / 3)
    assert (answer.held_by, answer.blocked_by) == (("gate:h",), ())
    assert summarise([]).figures.logprob_min is None


@drawn.calm
@given(drawn.documents(), drawn.requests, drawn.answers())
def test_a_kept_answer_is_judged_alike(document: Document, facts: RequestFacts, answer: AnswerFacts) -> None:
    """Without the words of its tool calls an answer gets the verdict that it got with them, and keeps none of them."""
    found = seal("drawn", document)
    decision = decide(found, facts)
    if isinstance(decision, Decision):
        stripped = kept(found, decision, answer)
        assert judge_release(found, decision, stripped) == judge_release(found, decision, answer)
        assert [(call.name, call.paths) for call in stripped.calls] == [(call.name, "") for call in answer.calls]


def test_a_rule_about_figures_needs_a_gate() -> None:
    """Where a rule about answers asks for a figure of their units, units are looked at although none is ruled against."""
    figures = policy(RULE + 'when = { metric = "logprob_mean", below = -0.6 }\n')
    assert allowed(figures).verdicts == {Verdict.ACCEPT}
    assert allowed(policy(RULE + 'when = { tools_called = ["bash"] }\n')).verdicts == frozenset()
    assert allowed(policy(RULE + 'when = { metric = "tokens", above = 9.0 }\n', head='enforcement = "shadow"\n')).verdicts
