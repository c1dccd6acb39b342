"""Quality gates: a figure of a unit, a threshold, and what becomes of the unit that crosses it.

[[gates]]
id = "sure"          modes = ["diffusion"]     metric = "confidence_min"     below = 0.5
action = "refine"    refine = { threshold = 0.95, steps = 32, attempts = 1, then = "redo_ar" }
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from policies.approval import DEFAULT_APPROVAL
from policies.metrics import Metric
from policies.modes import Mode, Steps
from policies.words import Action, Closed, Fraction, Id, Reason

Modes = Annotated[tuple[Mode, ...], Meta(min_length=1, max_length=len(Mode))]


class Refine(Closed, frozen=True, kw_only=True):
    """Mask again what was committed below `threshold` (a probability), denoise for `steps` more; `then`, after `attempts`."""

    threshold: Fraction
    steps: Steps
    attempts: Annotated[int, Meta(ge=1, le=2)] = 1
    then: Action = Action.HOLD


class Gate(Closed, frozen=True, kw_only=True):
    """A threshold on a unit's figure, in these modes; units of fewer than `least_tokens` are too short to be judged by it.

    It is crossed under `below`, over `above`, or, with both, between them. A figure that is missing demands `on_missing`
    (the document's, unless given); a figure that is not a number is missing.
    """

    id: Id
    modes: Modes
    metric: Metric
    below: float | None = None
    above: float | None = None
    least_tokens: Annotated[int, Meta(ge=1, le=32)] = 1
    action: Action
    refine: Refine | None = None
    on_missing: Action | None = None
    approval: Id = DEFAULT_APPROVAL
    reason: Reason = ""
