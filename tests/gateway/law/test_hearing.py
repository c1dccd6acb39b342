"""What is said of a verdict names what came to it, and none of the rules that were met and let the answer be."""

from __future__ import annotations

import pytest

from gateway.law.hearing import Hearing, Law
from gateway.ui.reviewing import evidence
from tests.policies.documents import allowed, policy

EVERY = 'when = { risk = ["low", "medium", "high"] }'
ANSWER = 'when = { metric = "forwards", above = 1.0 }'
MISSING = 'when = { metric = "acceptance", below = 0.5 }'


def rule(name: str, phase: str, when: str, action: str, more: str = "") -> str:
    """One rule of a document."""
    return f'[[rules]]\nid = "{name}"\nphase = "{phase}"\n{when}\naction = "{action}"\nreason = "{name} of old"\n{more}\n'


LETS_BE = (
    rule("fine", "admit", EVERY, "allow")
    + rule("okay", "release", ANSWER, "allow")
    + rule("unseen", "release", MISSING, "hold", 'on_missing = "allow"')
)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", ()),
        (rule("noted", "admit", EVERY, "annotate"), ("rule:noted",)),
        (rule("remark", "release", ANSWER, "annotate"), ("rule:remark",)),
        (rule("bare", "release", MISSING, "block", 'on_missing = "annotate"'), ("metric_missing:rule:bare",)),
    ],
)
def test_what_lets_an_answer_be_remarks_nothing(more: str, told: tuple[str, ...]) -> None:
    """A client is told of the rules that annotate its answer, not of others that were met."""
    law = policy(LETS_BE + more)
    heard = Hearing(Law(law, allowed(law))).judge(3, ())
    assert heard.annotations == heard.body.annotations == told
    assert {"rule:okay", "metric_missing:rule:unseen"} <= set(heard.body.rules)


@pytest.mark.parametrize("phase", ["admit", "release"])
def test_a_held_answer_is_held_for_what_holds_it(phase: str) -> None:
    """A reviewer reads of the rules that hold, whether at admission or of the answer, and of no other."""
    when = EVERY if phase == "admit" else ANSWER
    law = policy(LETS_BE + rule("remark", "release", ANSWER, "annotate") + rule("stop", phase, when, "hold"))
    heard = Hearing(Law(law, allowed(law))).judge(3, ())
    reasons = list(evidence._reasons(heard.body, law.document))
    assert [(each.label, each.told) for each in reasons] == [("rule:stop", "stop of old")]


def test_what_held_for_want_of_a_figure_has_its_reason_too() -> None:
    """A rule says why it holds, also where it does so because it saw nothing."""
    law = policy(rule("stop", "release", MISSING, "hold"))
    heard = Hearing(Law(law, allowed(law))).judge(3, ())
    reasons = list(evidence._reasons(heard.body, law.document))
    assert [(each.label, each.told) for each in reasons] == [("metric_missing:rule:stop", "stop of old")]
