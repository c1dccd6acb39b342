"""Our own `palimpsest` object, the same in every dialect. It is closed: a misspelt knob must not pass in silence.

Many clients let their users add headers, and few let them change bodies; so a header may hold the object as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from engine.request import Constraint, ConstraintKind
from gateway.dialects.body import parse
from gateway.dialects.request import ComputeKnob
from gateway.errors import BadRequest

MODE_HEADER: Final = "x-palimpsest-mode"
KNOB_HEADER: Final = "x-palimpsest"
SEEDS: Final = 1 << 64
LABEL_MOST: Final = 500
"""Characters of a name that goes on record as it came."""
DAY_MS: Final = 86_400_000
"""Milliseconds of a day, the longest latency that anybody may call a target."""
CLAUDE_ALIAS: Final = "claude-"
"""Every id of `GET /v1/models` is served with this in front as well."""


class Palimpsest(msgspec.Struct, forbid_unknown_fields=True):
    """The object as it comes."""

    mode: str | None = None
    block_length: int | None = None
    threshold: float | None = None
    max_steps: int | None = None
    seed_first: bool | None = None
    think_budget: int | None = None
    numeric: str | None = None
    regex: str | None = None
    grammar: str | None = None
    workflow: str | None = None
    risk: str | None = None
    latency_target_ms: int | None = None
    proof: bool | None = None


_objects = msgspec.json.Decoder(Palimpsest)


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside the body: the headers `x-palimpsest-mode` and, with the object as JSON, `x-palimpsest`."""

    mode: str | None = None
    whole: str | None = None

    def own(self, given: Palimpsest | None) -> Palimpsest:
        """The object of header and body together. Raises BadRequest where they do not agree."""
        own = given or Palimpsest()
        if not self.whole:
            return own
        try:
            told = parse(_objects, self.whole)
        except BadRequest as error:
            raise BadRequest(f"header {KNOB_HEADER}: {error.message}", code=error.code, param=KNOB_HEADER) from error
        found = {name: value for name, value in msgspec.structs.asdict(told).items() if value is not None}
        for name, value in found.items():
            if getattr(own, name) not in (None, value):
                message = f"header {KNOB_HEADER} and body differ in {name}: send one of them"
                raise BadRequest(message, code="conflict", param=f"palimpsest.{name}")
        return msgspec.structs.replace(own, **found)


NOTHING_BESIDE: Final = Beside()


def knob(given: Palimpsest, suffix: str | None, header: str | None) -> ComputeKnob:
    """The knob, with the mode that model suffix, header and body agree on. Raises BadRequest."""
    chosen = {choice for choice in (suffix, header, given.mode) if choice is not None}
    if len(chosen) > 1:
        raise BadRequest(
            f"model suffix, x-palimpsest-mode and palimpsest.mode ask for different modes: {', '.join(sorted(chosen))}",
            code="conflict",
            param="palimpsest.mode",
        )
    for name, least in (("block_length", 1), ("max_steps", 1), ("think_budget", 0)):
        value: int | None = getattr(given, name)
        if value is not None and value < least:
            raise BadRequest(f"{name} must be at least {least}", code="out_of_range", param=f"palimpsest.{name}")
    if given.threshold is not None and not 0.0 <= given.threshold <= 1.0:
        raise BadRequest("threshold must lie in 0..1", code="out_of_range", param="palimpsest.threshold")
    return ComputeKnob(
        mode=next(iter(chosen), None),
        block_length=given.block_length,
        threshold=given.threshold,
        max_steps=given.max_steps,
        seed_first=given.seed_first,
        think_budget=given.think_budget,
        numeric=given.numeric,
        workflow=_label("workflow", given.workflow),
        risk=_label("risk", given.risk),
        latency_target_ms=_milliseconds(given.latency_target_ms),
    )


def held(own: Palimpsest, asked: Constraint | None, name: str) -> Constraint | None:
    """What the answer must look like, asked in one way only: by `own`, or by the dialect's field `name`. Raises BadRequest."""
    found = [
        *([] if own.regex is None else [Constraint(ConstraintKind.REGEX, own.regex)]),
        *([] if own.grammar is None else [Constraint(ConstraintKind.GRAMMAR, own.grammar)]),
        *([] if asked is None else [asked]),
    ]
    if len(found) > 1:
        message = f"{name}, palimpsest.regex and palimpsest.grammar exclude one another: send one of them"
        raise BadRequest(message, code="conflict", param=name)
    return found[0] if found else None


def served_model(asked: str) -> tuple[str, str | None]:
    """The name of a model and the mode that its suffix asks for; Claude Code lists no id without its own name in it."""
    name, _, suffix = asked.removeprefix(CLAUDE_ALIAS).partition(":")
    return name, suffix or None


def seed_of(asked: int | None) -> int | None:
    """Negative seeds, which OpenAI's schema permits, are read as two's complement; the record shows the effective one."""
    if asked is None:
        return None
    if not -(SEEDS >> 1) <= asked < SEEDS:
        raise BadRequest("seed must fit in 64 bits", code="out_of_range", param="seed")
    return asked % SEEDS


def _milliseconds(given: int | None) -> int | None:
    if given is not None and not 0 <= given <= DAY_MS:
        raise BadRequest("latency_target_ms must lie in 0..86400000", code="out_of_range", param="palimpsest.latency_target_ms")
    return given


def _label(name: str, given: str | None) -> str:
    if given is not None and len(given) > LABEL_MOST:
        message = f"{name} may have at most {LABEL_MOST} characters"
        raise BadRequest(message, code="out_of_range", param=f"palimpsest.{name}")
    if "\0" in (given or ""):  # nor could any column hold it
        raise BadRequest(f"{name} may hold no NUL", code="out_of_range", param=f"palimpsest.{name}")
    return given or ""
