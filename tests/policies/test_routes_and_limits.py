"""Routes, admission rules, budgets, prices: who gets which mode, who gets none, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import Action, Mode, Prices, RefusalCode, Release, Usage, cost
from policies.rules import TimeWindow
from policies.windows import DAY, WEEK, open_minutes
from tests.policies import drawn
from tests.policies.documents import allowed, policy, refused
from tests.policies.facts import PLAIN

ROUTES = """
[[routes]]
id = "risky"
when = { risk = ["high"] }
modes = ["ar"]
[[routes]]
id = "quick"
when = { workflow = ["chat*"], latency_target_ms = { most = 500 } }
modes = ["diffusion", "linear_spec"]
block_length = { default = 8, least = 8, most = 8 }
threshold = { default = 0.7, least = 0.7, most = 0.8 }
"""
BUDGET = '[[budgets]]\nid = "b"\nper = "key"\nunit = "tokens"\namount = "10"\nwindow = "day"\n'
CHAT = replace(PLAIN, workflow="Chat-1", latency_target_ms=500)


def test_the_first_route_that_holds_is_taken() -> None:
    """A route picks mode and knobs by workflow, latency target and risk; without one the document's default runs."""
    found = policy(ROUTES)
    quick = allowed(found, CHAT)
    assert (quick.mode, quick.block_length, quick.threshold, quick.rules) == (Mode.DIFFUSION, 8, 0.7, ("route:quick",))
    assert allowed(found, replace(CHAT, risk="high")).mode is Mode.AR
    assert allowed(found, replace(CHAT, latency_target_ms=501)).rules == ("modes.default",)
    assert allowed(found, replace(CHAT, latency_target_ms=None)).rules == ("modes.default",)


def test_a_client_chooses_among_what_its_route_offers() -> None:
    """A wish that the route offers is granted and tuned by it, any other is refused or replaced, and the rules say so."""
    found = policy(ROUTES)
    granted = allowed(found, replace(CHAT, requested_mode="linear_spec", block_length=32))
    assert granted.rules == ("modes.requested", "route:quick", "clamp:block_length") and granted.block_length == 8
    refusal = refused(found, replace(CHAT, requested_mode="ar"))
    assert (refusal.code, refusal.rules) == (RefusalCode.MODE_NOT_PERMITTED, ("route:quick",))
    assert refusal.reason.endswith("permitted: diffusion, linear_spec")
    lenient = policy(
        ROUTES, modes='[modes]\nallowed = ["ar", "diffusion", "linear_spec"]\ndefault = "ar"\non_disallowed = "default"\n'
    )
    replaced = allowed(lenient, replace(CHAT, requested_mode="ar"))
    assert (replaced.mode, replaced.rules) == (Mode.DIFFUSION, ("route:quick:default",))


@pytest.mark.parametrize("risk", ["high", "HIGH", "hihg", "critical", ""])
def test_a_risk_that_nobody_knows_is_the_highest(risk: str) -> None:
    """A misspelt or invented risk does not evade a rule for high risks; silence is what the document takes it for."""
    assert allowed(policy(ROUTES), replace(PLAIN, risk=risk)).mode is Mode.AR
    assert allowed(policy(ROUTES)).mode is Mode.DIFFUSION
    assert allowed(policy(ROUTES, head='risk_unsaid = "high"\n')).mode is Mode.AR


@pytest.mark.parametrize(
    ("when", "facts", "matched"),
    [
        ('group = ["red"]', {"groups": ("blue", "red")}, True),
        ('group = ["red"]', {}, False),
        ('model = ["palimpsest-tiny"]', {}, True),
        ('model = ["other"]', {}, False),
        ("has_tools = true", {"tools": ("bash",)}, True),
        ("has_tools = false", {"tools": ("bash",)}, False),
        ('tools_offered = ["BA*"]', {"tools": ("edit", "bash")}, True),
        ('tools_offered = ["BA*"]', {"tools": ("edit",)}, False),
        ('mode = ["diffusion"]', {}, True),
        ('mode = ["linear_spec"]', {"requested_mode": "auto"}, True),
        ('mode = ["auto"]', {"requested_mode": "linear_spec"}, False),
        ("latency_target_ms = { least = 100 }", {"latency_target_ms": 99}, False),
        ('time = { after = "08:00", before = "09:00" }', {"minute_of_week": 8 * 60}, True),
        ('time = { after = "08:00", before = "09:00" }', {"minute_of_week": 9 * 60}, False),
        ('time = { after = "08:00", before = "09:00" }', {"minute_of_week": None}, True),
        ('time = { after = "08:00", before = "09:00" }', {"minute_of_week": -1}, True),
        ('workflow = ["a", "b"], risk = ["low"]', {"workflow": "b"}, True),
        ('workflow = ["a", "b"], risk = ["high"]', {"workflow": "b"}, False),
    ],
)
def test_all_conditions_of_a_rule_must_hold(when: str, facts: dict[str, object], matched: bool) -> None:
    """A blocking rule refuses what all its conditions hold for, with its label and reason; and nothing else."""
    found = policy(f'[[rules]]\nid = "r"\nphase = "admit"\naction = "block"\nreason = "not here"\nwhen = {{ {when} }}\n')
    asked = replace(PLAIN, **facts)  # type: ignore[arg-type]
    if matched:
        refusal = refused(found, asked)
        assert (refusal.code, refusal.status, refusal.rules) == (RefusalCode.BLOCKED, 403, ("rule:r",))
        assert "not here" in refusal.reason
    else:
        assert "rule:r" not in allowed(found, asked).rules


def test_windows_reach_past_midnight_and_past_sunday() -> None:
    """A window that closes before it opens goes on into the next day; Sunday's goes on into Monday."""
    night = open_minutes(TimeWindow(days=("sun",), after="22:00", before="06:00"))
    assert sum(night) == 8 * 60 and night[6 * DAY + 22 * 60] and night[0] and night[359] and not night[360]
    assert sum(open_minutes(TimeWindow())) == WEEK
    assert sum(open_minutes(TimeWindow(days=("mon", "mon"), before="00:01"))) == 1


def test_a_budget_without_room_does_what_it_says() -> None:
    """An exceeded budget blocks, holds, or goes down to its mode: the ledger says which are exceeded, the judge what then."""
    spent = replace(PLAIN, exceeded=("b",))
    refusal = refused(policy(BUDGET), spent)
    assert (refusal.code, refusal.status, refusal.rules) == (RefusalCode.BUDGET_EXCEEDED, 429, ("budget:b",))
    held = allowed(policy(BUDGET + 'on_exceed = "hold"\n'), spent)
    assert (held.action, held.release, held.rules[-1]) == (Action.HOLD, Release.WHOLE, "budget:b")
    lowered = policy(BUDGET + 'on_exceed = "downgrade_mode"\ndowngrade_to = "linear_spec"\n')
    assert (allowed(lowered).mode, allowed(lowered, spent).mode) == (Mode.DIFFUSION, Mode.LINEAR_SPEC)
    assert [budget.id for budget in allowed(lowered, spent).budgets] == ["b"]


def test_a_budget_concerns_its_workflow_only() -> None:
    """A budget for a workflow is drawn on, and exceeded, by requests of that workflow alone."""
    found = policy(BUDGET + 'workflow = "bills*"\n')
    assert allowed(found, replace(PLAIN, exceeded=("b",))).budgets == ()
    assert refused(found, replace(PLAIN, workflow="bills-1", exceeded=("b",))).rules == ("budget:b",)


def test_a_downgrade_never_leaves_the_route() -> None:
    """Where the route does not offer the cheaper mode, the exceeded budget blocks instead."""
    found = policy(ROUTES + BUDGET + 'on_exceed = "downgrade_mode"\ndowngrade_to = "diffusion"\n')
    assert allowed(found, replace(PLAIN, requested_mode="ar", exceeded=("b",))).mode is Mode.DIFFUSION
    assert refused(found, replace(PLAIN, risk="high", exceeded=("b",))).code is RefusalCode.BUDGET_EXCEEDED


def test_of_several_downgrades_the_first_says_which_mode() -> None:
    """A budget that a child adds behind its parent's does not undo the mode that the parent's goes down to."""
    first, second = BUDGET.replace('"b"', '"first"'), BUDGET.replace('"b"', '"second"')
    down = 'on_exceed = "downgrade_mode"\ndowngrade_to = "{}"\n'.format
    found = policy(first + down("linear_spec") + second + down("quadratic_spec"))
    for exceeded, mode in ((("first", "second"), Mode.LINEAR_SPEC), (("second",), Mode.QUADRATIC_SPEC)):
        decision = allowed(found, replace(PLAIN, exceeded=exceeded))
        assert (decision.mode, decision.rules[-len(exceeded) :]) == (mode, tuple(f"budget:{name}" for name in exceeded))


PRICES = policy('[prices.ar]\nprompt_tokens = "0.1"\nanswer_tokens = "0.7"\n[prices.linear_spec]\nforwards = "3"\n'
                'gpu_seconds = "0.000000001"\n').document.prices  # fmt: skip


def test_prices_are_exact() -> None:
    """Costs are decimal, per million of tokens and passes and per GPU second; `auto` costs what its dearest mode does."""
    assert cost(PRICES, Mode.AR, Usage(3, 3)) == Decimal("0.0000024")
    assert cost(PRICES, Mode.LINEAR_SPEC, Usage(forwards=7, gpu_seconds=Decimal("0.5"))) == Decimal("0.0000210005")
    assert cost(PRICES, Mode.DIFFUSION, Usage(5, 5, 5, Decimal(5))) == 0
    assert cost(PRICES, Mode.AUTO, Usage(1, 1, 10**6)) == Decimal(3)


@drawn.calm
@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40))
def test_costs_add_up(one: int, two: int, seconds: int) -> None:
    """The cost of two usages together is the sum of their costs, to the last digit."""
    dear = Prices(ar=PRICES.ar, linear_spec=PRICES.linear_spec)
    parts = [Usage(forwards=one, gpu_seconds=Decimal(seconds)), Usage(forwards=two)]
    both = Usage(forwards=one + two, gpu_seconds=Decimal(seconds))
    assert sum(cost(dear, Mode.LINEAR_SPEC, part) for part in parts) == cost(dear, Mode.LINEAR_SPEC, both)
