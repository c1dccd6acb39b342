"""Explaining: everything that was asked is there, matched or not, with what it asked and what it saw."""

from __future__ import annotations

import struct
from dataclasses import replace

from hypothesis import given

from policies import (
    BlockFacts,
    Decision,
    Document,
    Match,
    RequestFacts,
    Ruling,
    Verdict,
    called,
    decide,
    explain,
    judge_block,
    judge_release,
    summarise,
)
from policies.facts import AnswerFacts
from policies.policy import seal
from tests.policies import drawn
from tests.policies.documents import allowed, policy
from tests.policies.facts import PLAIN

TABLES = """
[[routes]]
id = "quick"
when = { workflow = ["chat*"] }
modes = ["diffusion"]
[[routes]]
id = "also"
when = { risk = ["low"] }
modes = ["ar"]
[[budgets]]
id = "b"
per = "key"
unit = "tokens"
amount = "5"
window = "day"
on_exceed = "hold"
[[gates]]
id = "sure"
modes = ["diffusion"]
metric = "confidence_min"
below = 0.5
action = "redo_ar"
[[rules]]
id = "red"
phase = "admit"
when = { group = ["red"], risk = ["high"] }
action = "block"
[[rules]]
id = "keys"
phase = "release"
when = { paths = ["*.pem"] }
action = "hold"
"""
UNIT = BlockFacts(0, 10, "diffusion", 16, 0, 8, 0, -0.5, -2.0, 0.9, 0.25, 0.95)
CHAT = replace(PLAIN, workflow="chat-1", groups=("red",))


def test_every_reason_is_said() -> None:
    """Each route, budget, gate and rule is listed in order, with whether it applies, what it asked and what it saw."""
    found = {each.label: each for each in explain(policy(TABLES), CHAT).considered}
    assert list(found) == ["route:quick", "route:also", "budget:b", "rule:red", "gate:sure", "rule:keys"]
    assert found["route:quick"].match is Match.MATCHED
    assert found["route:also"].why[-1] == "an earlier route is taken"
    assert (found["budget:b"].match, found["budget:b"].why) == (Match.NOT_MATCHED, ("it had room for this request",))
    assert found["rule:red"].match is Match.NOT_MATCHED
    assert set(found["rule:red"].why) == {
        "group: asks one of red, saw ('red',): met",
        "risk: asks one of high, saw low: not met",
    }
    assert found["gate:sure"].match is Match.OPEN
    assert found["gate:sure"].why == ("asks every unit with confidence_min below 0.5 of diffusion",)
    assert found["rule:keys"].match is Match.OPEN and "*.pem" in found["rule:keys"].why[0]


def test_a_unit_and_an_answer_settle_what_was_open() -> None:
    """Given a unit and an answer, gates and rules about them say what they saw, and the rulings are there."""
    answer = summarise([(UNIT, Ruling(Verdict.ACCEPT))], (called("edit", '{"path": "a/KEY.pem"}'),))
    given_ = explain(policy(TABLES), CHAT, UNIT, answer)
    found = {each.label: each for each in given_.considered}
    assert found["gate:sure"].match is Match.MATCHED and "saw 0.25" in found["gate:sure"].why[-1]
    assert found["rule:keys"].match is Match.MATCHED and "*.pem" in found["rule:keys"].why[-1]
    assert given_.ruling == Ruling(Verdict.REDO_AR, "gate:sure")
    assert given_.release is not None and given_.release.rules == ("rule:keys",)


def test_a_refusal_is_explained_as_well() -> None:
    """A refused request has its refusal, and every rule still says why it matched or not."""
    found = explain(policy(TABLES), replace(CHAT, risk="high"), UNIT)
    assert not isinstance(found.verdict, Decision) and found.ruling is None
    assert [each.label for each in found.considered if each.match is Match.MATCHED] == ["route:quick", "rule:red"]


def test_what_was_seen_lies_where_the_verdict_says() -> None:
    """Figures are float32 and thresholds are not: where that makes a difference the explanation has the digits to show it."""
    for share, threshold, match, saw in (
        (0.9, 0.9, Match.MATCHED, "0.899999976"),
        (0.85, 0.85, Match.NOT_MATCHED, "0.85"),
        (0.25, 0.5, Match.MATCHED, "0.25"),
    ):
        law = policy(TABLES.replace("confidence_min", "agreement").replace("below = 0.5", f"below = {threshold}"))
        asked = replace(CHAT, groups=())
        unit = replace(UNIT, agreement=struct.unpack("f", struct.pack("f", share))[0])
        found = {each.label: each for each in explain(law, asked, unit).considered}["gate:sure"]
        assert (found.match, found.why[-1].rpartition("saw ")[2]) == (match, saw)
        ruled = judge_block(law, allowed(law, asked), unit)
        assert (ruled.verdict is not Verdict.ACCEPT) is (match is Match.MATCHED)


@drawn.calm
@given(drawn.documents(), drawn.requests, drawn.units(), drawn.answers())
def test_an_explanation_agrees_with_the_judge(
    document: Document, facts: RequestFacts, unit: BlockFacts, answer: AnswerFacts
) -> None:
    """The explained verdicts are the judge's, and what is said to match is exactly what the judge names."""
    of = seal("drawn", document)
    verdict = decide(of, facts)
    found = explain(of, facts, unit, answer)
    assert found.verdict == verdict
    assert len(found.considered) == len(document.gates) + len(document.rules)
    if not isinstance(verdict, Decision):
        return
    assert found.ruling == judge_block(of, verdict, unit)
    assert found.release == judge_release(of, verdict, answer)
    phases = {f"rule:{rule.id}": rule.phase.value for rule in document.rules}
    matched = [each.label for each in found.considered if each.match is Match.MATCHED]
    assert {label for label in matched if phases.get(label) == "admit"} == {x for x in verdict.rules if x.startswith("rule:")}
    assert {label for label in matched if phases.get(label, "block") == "block"} <= set(verdict.block_rules)
    named = {label.removeprefix("metric_missing:") for label in found.release.rules if label not in answer.held_by}
    assert {label for label in matched if phases.get(label) == "release"} == named
