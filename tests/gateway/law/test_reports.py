"""The tables that people read."""

from __future__ import annotations

import policies
from gateway.law.reports import explained
from tests.policies.documents import policy
from tests.policies.facts import PLAIN

LAW = """
[[gates]]
id = "sure"
modes = ["diffusion"]
metric = "agreement"
below = 0.5
action = "hold"
[[rules]]
id = "watched"
phase = "admit"
action = "annotate"
[[rules]]
id = "short"
phase = "block"
when = { metric = "tokens", below = 2.0 }
action = "annotate"
[[routes]]
id = "here"
when = {}
modes = ["diffusion"]
"""


UNIT = policies.BlockFacts(0, 0, "diffusion", tokens=8, attempt=0, steps=4, revisions=0, logprob_mean=-0.5, logprob_min=-1.0,
                           agreement=0.9)  # fmt: skip


def test_of_a_unit_only_what_is_asked_of_units_is_told() -> None:
    """A table of one unit has every gate and rule about units, met or not, and no route, budget or rule about requests."""
    of = policy(LAW)
    _, rows = explained(policies.explain(of, PLAIN, UNIT), of)
    assert [(row[0], row[2]) for row in rows] == [("gate:sure", "not_matched"), ("rule:short", "not_matched")]
    whole = {row[0] for row in explained(policies.explain(of, PLAIN))[1]}
    assert whole == {"route:here", "rule:watched", "gate:sure", "rule:short"}
