"""Drawn documents and facts: what Hypothesis tries the judge with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from policies import (
    Action,
    AnswerFacts,
    BlockFacts,
    Document,
    Metric,
    Mode,
    Phase,
    RequestFacts,
    Risk,
    Ruling,
    Verdict,
    called,
    summarise,
)
from policies.gates import Gate, Refine
from policies.modes import CONCRETE, Modes
from policies.rules import Rule, TimeWindow, When
from policies.windows import WEEK
from policies.words import Range
from tests.policies.facts import PLAIN
from tests.policies.traffic import single

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine breaks no law."""

WORKFLOWS = ("billing-eu", "billing-us", "chat")
TOOLS = ("bash", "edit", "read")
GROUPS = ("red", "blue")
FIGURES = (Metric.LOGPROB_MIN, Metric.LOGPROB_MEAN, Metric.CONFIDENCE_MIN, Metric.AGREEMENT, Metric.ACCEPTANCE, Metric.TOKENS)

demands = st.sampled_from([Action.ALLOW, Action.ANNOTATE, Action.REDO_AR, Action.HOLD, Action.BLOCK])
missing = st.none() | st.sampled_from([Action.ANNOTATE, Action.HOLD, Action.BLOCK])
bounds = st.floats(-8, 1, width=32)


def some(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    """None, or a few of these."""
    return st.none() | st.lists(st.sampled_from(values), min_size=1, unique=True).map(tuple)


refines = st.builds(
    Refine,
    threshold=st.floats(0, 1),
    steps=st.integers(1, 32),
    attempts=st.integers(1, 2),
    then=st.sampled_from([Action.REDO_AR, Action.HOLD, Action.BLOCK]),
)


@st.composite
def gates(draw: st.DrawFn, name: str = "drawn") -> Gate:
    """A gate on one figure in some modes."""
    refine = draw(st.none() | refines)
    return Gate(
        id=name,
        modes=draw(st.lists(st.sampled_from(CONCRETE), min_size=1, unique=True).map(tuple)),
        metric=draw(st.sampled_from(FIGURES)),
        below=draw(bounds),
        least_tokens=draw(st.integers(1, 8)),
        action=draw(demands) if refine is None else Action.REFINE,
        refine=refine,
        on_missing=draw(missing),
    )


whens = st.builds(
    When,
    workflow=some(("billing-*", "chat")),
    risk=some(tuple(Risk)),
    group=some(GROUPS),
    has_tools=st.none() | st.booleans(),
    tools_offered=some(("bash", "e*")),
    latency_target_ms=st.none() | st.builds(Range, least=st.integers(0, 500), most=st.integers(500, 1000)),
    time=st.none() | st.builds(TimeWindow, after=st.sampled_from(["00:00", "08:00", "20:00"]), before=st.just("12:00")),
    mode=some(CONCRETE),
)


@st.composite
def rules(draw: st.DrawFn, name: str = "drawn") -> Rule:
    """A rule of any phase; one about units or answers may name a figure."""
    phase = draw(st.sampled_from(Phase))
    when = draw(whens)
    if phase is not Phase.ADMIT and draw(st.booleans()):
        when = msgspec.structs.replace(when, metric=draw(st.sampled_from(FIGURES)), below=draw(bounds))
    if phase is Phase.RELEASE:
        when = msgspec.structs.replace(when, tools_called=draw(some(TOOLS)), paths=draw(some(("secrets/**", "*.py"))))
    coarse = st.sampled_from([Action.ALLOW, Action.ANNOTATE, Action.HOLD, Action.BLOCK])
    action = draw(demands if phase is Phase.BLOCK else coarse)
    return Rule(id=name, phase=phase, when=when, action=action, on_missing=draw(missing))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A document with all modes, some gates and some rules."""
    return Document(
        schema="palimpsest.policy/1",
        tenant="*",
        modes=Modes(allowed=CONCRETE, default=draw(st.sampled_from(Mode))),
        gates=tuple(draw(gates(f"g{index}")) for index in range(draw(st.integers(0, 3)))),
        rules=tuple(draw(rules(f"r{index}")) for index in range(draw(st.integers(0, 4)))),
        risk_unsaid=draw(st.sampled_from(Risk)),
    )


@st.composite
def changes(draw: st.DrawFn, document: Document) -> Document:
    """The document with one gate or rule changed in one way, for better or worse, or with other words above its tables."""
    gates_, rules_ = list(document.gates), list(document.rules)
    of_gate, of_rule = draw(st.booleans()), draw(st.booleans())
    if gates_ and of_gate:
        index = draw(st.integers(0, len(gates_) - 1))
        gates_[index] = draw(_gate_change(gates_[index]))
    if rules_ and of_rule:
        index = draw(st.integers(0, len(rules_) - 1))
        rules_[index] = draw(_rule_change(rules_[index]))
    risk, absent = draw(st.sampled_from(Risk)), draw(st.sampled_from([Action.ANNOTATE, Action.HOLD, Action.BLOCK]))
    return msgspec.structs.replace(document, gates=tuple(gates_), rules=tuple(rules_), risk_unsaid=risk, on_missing=absent)


def _gate_change(gate: Gate) -> st.SearchStrategy[Gate]:
    fields: dict[str, st.SearchStrategy[Any]] = {
        "below": st.floats(-9, 2),
        "least_tokens": st.integers(1, 8),
        "modes": st.lists(st.sampled_from(CONCRETE), min_size=1, unique=True).map(tuple),
        "action": demands,
        "on_missing": missing,
    }
    return _changed(gate, fields)


def _rule_change(rule: Rule) -> st.SearchStrategy[Rule]:
    return _changed(rule, {"action": st.sampled_from([Action.HOLD, Action.BLOCK]), "when": whens, "on_missing": missing})


def _changed(entry: Any, fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.sampled_from(sorted(fields)).flatmap(
        lambda key: fields[key].map(lambda value: msgspec.structs.replace(entry, **{key: value}))
    )


requests: st.SearchStrategy[RequestFacts] = st.builds(
    replace,
    st.just(PLAIN),
    requested_mode=st.none() | st.sampled_from([mode.value for mode in Mode]),
    workflow=st.none() | st.sampled_from(WORKFLOWS),
    risk=st.none() | st.sampled_from(["low", "medium", "high", "hihg"]),
    groups=st.lists(st.sampled_from(GROUPS), unique=True).map(tuple),
    tools=st.lists(st.sampled_from(TOOLS), unique=True).map(tuple),
    latency_target_ms=st.none() | st.integers(0, 1200),
    minute_of_week=st.none() | st.integers(0, WEEK - 1),
)

figures = st.floats(-9, 1, width=32) | st.just(float("nan"))


@st.composite
def units(draw: st.DrawFn) -> BlockFacts:
    """A unit with figures of any kind; what its mode does not have is missing."""
    mode = draw(st.sampled_from(["ar", "linear_spec", "diffusion"]))
    denoised = mode == "diffusion"
    return BlockFacts(
        index=0,
        start=draw(st.integers(0, 99)),
        mode=mode,
        tokens=draw(st.integers(1, 40)),
        attempt=draw(st.integers(0, 2)) if denoised else 0,
        steps=draw(st.integers(1, 40)),
        revisions=0,
        logprob_mean=single(draw(figures)),
        logprob_min=single(draw(figures)),
        confidence_mean=draw(figures) if denoised else None,
        confidence_min=draw(figures) if denoised else None,
        agreement=draw(figures) if denoised else None,
        acceptance=draw(st.none() | figures) if mode == "linear_spec" else None,
    )


@st.composite
def answers(draw: st.DrawFn) -> AnswerFacts:
    """An answer of a few units, some held, with tool calls."""
    made = draw(st.lists(units(), min_size=1, max_size=3))
    judged = [(unit, draw(st.sampled_from([Ruling(Verdict.ACCEPT), Ruling(Verdict.HOLD, "gate:g0")]))) for unit in made]
    paths = st.sampled_from(["a/secrets/x", "src/a.py", "README"])
    calls = draw(st.lists(st.tuples(st.sampled_from(TOOLS), paths), max_size=2))
    return summarise(judged, tuple(called(tool, f'{{"p": "{path}"}}') for tool, path in calls), forwards=9)
