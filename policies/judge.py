"""The pure judge: the same policy and the same facts give the same answer, always.

No clock, no I/O, no memory. A refusal is a value with a code and a sentence for the client; a decision has
effective values (each knob clamped into the document's range), the modes the engine may use at all, the
document's digest, and the ids of the rules that shaped it. Under `enforcement = "shadow"` the document does
not act: its would-be rules are listed with the prefix `shadow:`.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from policies.document import (
    ANY_TENANT,
    CONCRETE,
    TOKENS_MOST,
    BlockLengthKnob,
    Document,
    Enforcement,
    Knobs,
    Limits,
    Mode,
    Modes,
    OnDisallowed,
    Release,
    SeedFirstKnob,
    StepsKnob,
    ThresholdKnob,
    canonical_modes,
)
from policies.load import Policy, PolicyDigest

_SHOWN = 64


class RefusalCode(StrEnum):
    """Why a request may not run; the words are part of the API."""

    TENANT_MISMATCH = "tenant_mismatch"
    PROMPT_TOO_LONG = "prompt_too_long"
    MODE_UNKNOWN = "mode_unknown"
    MODE_NOT_PERMITTED = "mode_not_permitted"
    KNOB_INVALID = "knob_invalid"


STATUS: Final = {
    RefusalCode.TENANT_MISMATCH: 403,
    RefusalCode.PROMPT_TOO_LONG: 400,
    RefusalCode.MODE_UNKNOWN: 400,
    RefusalCode.MODE_NOT_PERMITTED: 403,
    RefusalCode.KNOB_INVALID: 400,
}


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """All that the judge may know of a request. None means that the client did not say."""

    tenant: str
    caller: str
    model: str
    requested_mode: str | None
    workflow: str | None
    risk: str | None
    max_tokens: int | None
    block_length: int | None
    threshold: float | None
    max_steps: int | None
    seed_first: bool | None
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Permission to run, with effective values; `modes_permitted` (in `Mode` order, never `auto`) binds the engine."""

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """No permission. `reason` is for the client and says what would be permitted."""

    code: RefusalCode
    reason: str
    policy_digest: PolicyDigest
    rules: tuple[str, ...]

    @property
    def status(self) -> int:
        """The HTTP status that means the same; a dialect may map it to its own."""
        return STATUS[self.code]


def decide(policy: Policy, facts: RequestFacts) -> Decision | Refusal:
    """Judge one request under one policy."""
    verdict = _judge(policy.document, policy.digest, facts)
    if policy.document.enforcement is Enforcement.ENFORCE:
        return verdict
    acted = _judge(_unrestricted(policy.document), policy.digest, facts)
    return replace(acted, rules=(*acted.rules, *(f"shadow:{rule}" for rule in verdict.rules)))


def _judge(document: Document, digest: PolicyDigest, facts: RequestFacts) -> Decision | Refusal:
    refusal = _scope(document, digest, facts)
    if refusal is not None:
        return refusal
    chosen = _mode(document, digest, facts)
    if isinstance(chosen, Refusal):
        return chosen
    mode, mode_rule = chosen
    tuned = _tune(document, mode, facts)
    return Decision(
        mode=mode,
        modes_permitted=canonical_modes(document.modes.allowed),
        block_length=tuned.block_length,
        threshold=tuned.threshold,
        max_steps=tuned.max_steps,
        seed_first=tuned.seed_first,
        release=document.release,
        max_tokens=tuned.max_tokens,
        policy_digest=digest,
        rules=(mode_rule, *tuned.rules),
    )


def _scope(document: Document, digest: PolicyDigest, facts: RequestFacts) -> Refusal | None:
    """Refuse what no mode could serve."""
    if document.tenant not in (ANY_TENANT, facts.tenant):
        reason = f"this policy is not for tenant {facts.tenant!r}; ask an administrator to assign one"
        return Refusal(RefusalCode.TENANT_MISMATCH, reason, digest, ("tenant",))
    most = document.limits.max_prompt_tokens
    if facts.prompt_tokens > most:
        reason = f"the prompt has {facts.prompt_tokens} tokens; the policy permits {most}"
        return Refusal(RefusalCode.PROMPT_TOO_LONG, reason, digest, ("limits.max_prompt_tokens",))
    if facts.threshold is not None and not math.isfinite(facts.threshold):
        reason = "threshold must be a finite number between 0 and 1"
        return Refusal(RefusalCode.KNOB_INVALID, reason, digest, ("threshold",))
    return None


def _mode(document: Document, digest: PolicyDigest, facts: RequestFacts) -> tuple[Mode, str] | Refusal:
    """The mode to run and the rule that chose it."""
    modes = document.modes
    if facts.requested_mode is None:
        return modes.default, "modes.default"
    permitted = modes.choices if modes.client_may_choose else (modes.default,)
    listed = ", ".join(mode.value for mode in permitted)
    try:
        asked = Mode(facts.requested_mode)
    except ValueError:
        reason = f"unknown mode {facts.requested_mode[:_SHOWN]!r}; permitted: {listed}"
        return Refusal(RefusalCode.MODE_UNKNOWN, reason, digest, ("modes",))
    if asked in permitted:
        return asked, "modes.requested"
    rule = "modes.allowed" if asked not in modes.choices else "modes.client_may_choose"
    if modes.on_disallowed is OnDisallowed.USE_DEFAULT:
        return modes.default, f"{rule}:default"
    reason = f"mode {asked.value!r} is not permitted for tenant {facts.tenant!r}; permitted: {listed}"
    return Refusal(RefusalCode.MODE_NOT_PERMITTED, reason, digest, (rule,))


@dataclass(frozen=True, slots=True)
class _Tuned:
    block_length: int
    threshold: float | None
    max_steps: int
    seed_first: bool
    max_tokens: int
    rules: tuple[str, ...]


def _tune(document: Document, mode: Mode, facts: RequestFacts) -> _Tuned:
    """Effective values, and a rule `clamp:<knob>` for each wish that was not granted as asked."""
    knobs, limits = document.modes.knobs(mode), document.limits
    length = knobs.block_length.effective(facts.block_length)
    threshold = None if knobs.threshold is None else knobs.threshold.effective(facts.threshold)
    steps = knobs.max_steps.effective(facts.max_steps)
    seed_first = knobs.seed_first.effective(facts.seed_first)
    tokens = limits.answer_tokens(facts.max_tokens)
    wishes: tuple[tuple[str, float | None, float | None], ...] = (
        ("block_length", facts.block_length, length),
        ("threshold", facts.threshold, threshold),
        ("max_steps", facts.max_steps, steps),
        ("seed_first", facts.seed_first, seed_first),
        ("max_tokens", facts.max_tokens, tokens),
    )
    rules = tuple(f"clamp:{name}" for name, asked, given in wishes if asked is not None and asked != given)
    return _Tuned(length, threshold, steps, seed_first, tokens, rules)


def _unrestricted(document: Document) -> Document:
    """The document's defaults with every restriction lifted: what runs while it is only a shadow."""

    def widen(knobs: Knobs) -> Knobs:
        return Knobs(
            block_length=BlockLengthKnob(default=knobs.block_length.default),
            threshold=knobs.threshold and ThresholdKnob(default=knobs.threshold.default),
            max_steps=StepsKnob(default=knobs.max_steps.default),
            seed_first=SeedFirstKnob(default=knobs.seed_first.default),
        )

    modes = document.modes
    return Document(
        schema=document.schema,
        tenant=document.tenant,
        modes=Modes(
            allowed=CONCRETE,
            default=modes.default,
            ar=widen(modes.ar),
            diffusion=widen(modes.diffusion),
            linear_spec=widen(modes.linear_spec),
            quadratic_spec=widen(modes.quadratic_spec),
        ),
        limits=Limits(default_max_tokens=document.limits.default_max_tokens, max_tokens=TOKENS_MOST),
    )
