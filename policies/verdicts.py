"""What the judge answers: a decision or a refusal of a request, a ruling on a unit, a verdict on an answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from policies.approval import Approval
from policies.limits import Budget
from policies.modes import Mode
from policies.words import Action, Release

PolicyDigest = NewType("PolicyDigest", bytes)

SHADOW: Final = "shadow:"
"""Before every rule of a document that is only a shadow."""
OTHER_POLICY: Final = "policy_changed"
"""The label of a hold on what was decided under another policy."""
SEPARATOR: Final = ", "
"""Between the labels of one ruling."""


class RefusalCode(StrEnum):
    """Why a request may not run; the words are part of the API."""

    TENANT_MISMATCH = "tenant_mismatch"
    PROMPT_TOO_LONG = "prompt_too_long"
    MODE_UNKNOWN = "mode_unknown"
    MODE_NOT_PERMITTED = "mode_not_permitted"
    KNOB_INVALID = "knob_invalid"
    BLOCKED = "blocked_by_policy"
    BUDGET_EXCEEDED = "budget_exceeded"


STATUS: Final = {
    RefusalCode.TENANT_MISMATCH: 403,
    RefusalCode.PROMPT_TOO_LONG: 400,
    RefusalCode.MODE_UNKNOWN: 400,
    RefusalCode.MODE_NOT_PERMITTED: 403,
    RefusalCode.KNOB_INVALID: 400,
    RefusalCode.BLOCKED: 403,
    RefusalCode.BUDGET_EXCEEDED: 429,
}


class Verdict(StrEnum):
    """What becomes of a unit, in the engine's words; `allow` and `annotate` accept it."""

    ACCEPT = "accept"
    REFINE = "refine"
    REDO_AR = "redo_ar"
    HOLD = "hold"
    BLOCK = "block"


VERDICTS: Final = {
    Action.ALLOW: Verdict.ACCEPT,
    Action.ANNOTATE: Verdict.ACCEPT,
    Action.REFINE: Verdict.REFINE,
    Action.REDO_AR: Verdict.REDO_AR,
    Action.HOLD: Verdict.HOLD,
    Action.BLOCK: Verdict.BLOCK,
}


@dataclass(frozen=True, slots=True)
class Obligation:
    """An approval that must be had before the answer may leave, and the labels of what asked for it."""

    name: str
    approval: Approval
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Permission to run, with effective values; `modes_permitted` (in `Mode` order, never `auto`) binds the engine.

    `block_rules` and `release_rules` are the labels of what this request can meet later on, `verdicts` all that `judge_block`
    can rule of its units: empty where no gate is needed. `obligations` are those known already, `budgets` those to reserve.
    """

    mode: Mode
    modes_permitted: tuple[Mode, ...]
    block_length: int
    threshold: float | None
    max_steps: int
    seed_first: bool
    release: Release
    max_tokens: int
    policy_digest: PolicyDigest
    rules: tuple[str, ...]
    action: Action = Action.ALLOW
    obligations: tuple[Obligation, ...] = ()
    budgets: tuple[Budget, ...] = ()
    block_rules: tuple[str, ...] = ()
    release_rules: tuple[str, ...] = ()
    verdicts: frozenset[Verdict] = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    """No permission. `reason` is for the client and says what would be permitted, `budgets` are those that had to have room."""

    code: RefusalCode
    reason: str
    policy_digest: PolicyDigest
    rules: tuple[str, ...]
    budgets: tuple[Budget, ...] = ()

    @property
    def status(self) -> int:
        """The HTTP status that means the same; a dialect may map it to its own."""
        return STATUS[self.code]


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict on a unit and the labels that demanded it; `refine` masks again below `threshold`, for `steps` steps more."""

    verdict: Verdict
    rule: str = ""
    threshold: float = 0.0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class ReleaseRuling:
    """The verdict on an answer: allow, annotate, hold or block; the obligations of a hold, and the labels that matched."""

    verdict: Action
    obligations: tuple[Obligation, ...] = ()
    rules: tuple[str, ...] = ()
