"""The words that every table of a policy document shares: closed tables, names, bounded numbers, actions, phases."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

ANY_TENANT: Final = "*"
TOKENS_MOST: Final = 1 << 20
ENTRIES_MOST: Final = 256
"""Entries of one list of a document."""

# `$` alone would let a line break stand at the end.
_ID = r"^[a-z0-9][a-z0-9_-]{0,63}$(?!\n)"
_DECIMAL = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?$(?!\n)"

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Id = Annotated[str, Meta(pattern=_ID, max_length=64)]
"""What rules, gates, routes, budgets and approvals are called, in the document and on record."""
Glob = Annotated[str, Meta(min_length=1, max_length=256)]
Reason = Annotated[str, Meta(max_length=500)]
DecimalText = Annotated[str, Meta(pattern=_DECIMAL)]
"""An exact amount: digits, and at most nine behind a point."""
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Tokens = Annotated[int, Meta(ge=1, le=TOKENS_MOST)]
Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]
Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]


class Closed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the document: immutable, and refusing every key it does not name."""


class Range(Closed, frozen=True, kw_only=True):
    """Milliseconds from `least` to `most`, both included."""

    least: Milliseconds = 0
    most: Milliseconds = 86_400_000


class Enforcement(StrEnum):
    """Whether a document acts, or only has recorded what it would have done."""

    ENFORCE = "enforce"
    SHADOW = "shadow"


class OnDisallowed(StrEnum):
    """What becomes of a request for a mode that it may not have."""

    REFUSE = "refuse"
    USE_DEFAULT = "default"


class Release(StrEnum):
    """Whether text may leave piece by piece, or only once the whole answer has its verdict."""

    STREAM = "stream"
    WHOLE = "whole"


class Phase(StrEnum):
    """When a rule is asked: before generation, of every judged unit, of the finished answer."""

    ADMIT = "admit"
    BLOCK = "block"
    RELEASE = "release"


class Risk(StrEnum):
    """How much a wrong answer would cost; what a client calls something else counts as the highest."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Action(StrEnum):
    """What a rule or gate demands, the mildest first; of several demands the strictest wins."""

    ALLOW = "allow"
    ANNOTATE = "annotate"
    REFINE = "refine"
    REDO_AR = "redo_ar"
    HOLD = "hold"
    BLOCK = "block"

    @property
    def rank(self) -> int:
        """0 is the mildest."""
        return _ACTIONS[self]

    @property
    def stops(self) -> bool:
        """Whether text under this action may not leave by itself."""
        return self in (Action.HOLD, Action.BLOCK)


AGAIN: Final = (Action.REFINE, Action.REDO_AR)
"""What has a unit decoded again."""
_ACTIONS: Final = {action: rank for rank, action in enumerate(Action)}


def strictest(actions: Iterable[Action]) -> Action:
    """The strictest of some actions; over nothing, allow."""
    return max(actions, key=_ACTIONS.__getitem__, default=Action.ALLOW)
