"""Rules: who asks for what, when, with which tools, and what is demanded then.

Every rule is asked and the strictest demand wins, so the order of rules decides nothing and one more rule never weakens.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from policies.approval import DEFAULT_APPROVAL
from policies.gates import Modes as AnyOfModes
from policies.gates import Refine
from policies.metrics import Metric
from policies.modes import BlockLengthKnob, SeedFirstKnob, StepsKnob, ThresholdKnob
from policies.words import Action, Closed, Glob, Id, Name, Phase, Range, Reason, Risk

Clock = Annotated[str, Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$(?!\n)")]
Day = Annotated[str, Meta(pattern=r"^(mon|tue|wed|thu|fri|sat|sun)$(?!\n)")]
Globs = Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=64)]
Names = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=64)]
Risks = Annotated[tuple[Risk, ...], Meta(min_length=1, max_length=len(Risk))]
Days = Annotated[tuple[Day, ...], Meta(min_length=1, max_length=7)]

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class TimeWindow(Closed, frozen=True, kw_only=True):
    """From `after` until `before` on these days, in the document's time zone; past midnight where `after` is the later."""

    days: Days = DAYS
    after: Clock = "00:00"
    before: Clock = "24:00"


class When(Closed, frozen=True, kw_only=True):
    """Conditions, all of which must hold; a list holds if any entry does. What is not named is not asked.

    `workflow` and tools are named with `*` and `?`, whatever the case. `paths` are globs on what the arguments of called
    tools name; one that does not begin with `/` matches at any depth. Tools called, paths and an answer's figures are known
    in the phase `release` only, a unit's figures in `block` only; `time` is that of admission.
    """

    workflow: Globs | None = None
    risk: Risks | None = None
    model: Names | None = None
    mode: AnyOfModes | None = None
    group: Names | None = None
    has_tools: bool | None = None
    tools_offered: Globs | None = None
    tools_called: Globs | None = None
    paths: Globs | None = None
    latency_target_ms: Range | None = None
    time: TimeWindow | None = None
    metric: Metric | None = None
    below: float | None = None
    above: float | None = None


class Rule(Closed, frozen=True, kw_only=True):
    """What is demanded in `phase` of whatever `when` holds for. `reason` is shown to whoever meets the demand."""

    id: Id
    phase: Phase
    when: When = When()
    action: Action
    refine: Refine | None = None
    on_missing: Action | None = None
    approval: Id = DEFAULT_APPROVAL
    reason: Reason = ""


class Route(Closed, frozen=True, kw_only=True):
    """How requests are decoded for which `when` holds; the first route that holds is taken.

    The first of `modes` runs unasked, a client may choose among them only. Knobs given here replace those of the mode.
    """

    id: Id
    when: When
    modes: AnyOfModes
    block_length: BlockLengthKnob | None = None
    threshold: ThresholdKnob | None = None
    max_steps: StepsKnob | None = None
    seed_first: SeedFirstKnob | None = None
    reason: Reason = ""
