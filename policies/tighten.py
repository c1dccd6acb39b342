"""What a child document grants that its parent does not.

`loosenings` is the whole law of inheritance: it yields a dotted key and a reason for each grant, and nothing
for a child that only narrows ranges, removes modes, lowers limits or holds text longer.
"""

from collections.abc import Iterator
from typing import Protocol

from policies.document import ANY_TENANT, CONCRETE, Document, Enforcement, Knobs, Limits, Modes, Release

Loosening = tuple[str, str]


class Range(Protocol):
    """Anything with two bounds that include their ends."""

    @property
    def least(self) -> float: ...
    @property
    def most(self) -> float: ...


def loosenings(parent: Document, child: Document) -> Iterator[Loosening]:
    """Every point at which `child` is looser than `parent`, in document order."""
    if parent.tenant not in (ANY_TENANT, child.tenant):
        yield "tenant", f"the parent belongs to tenant {parent.tenant!r}"
    if parent.enforcement is Enforcement.ENFORCE and child.enforcement is Enforcement.SHADOW:
        yield "enforcement", "the parent is enforced"
    if parent.release is Release.WHOLE and child.release is Release.STREAM:
        yield "release", "the parent releases whole answers only"
    yield from _modes(parent.modes, child.modes)
    yield from _limits(parent.limits, child.limits)


def _modes(parent: Modes, child: Modes) -> Iterator[Loosening]:
    for mode in child.allowed:
        if mode not in parent.allowed:
            yield "modes.allowed", f"the parent does not permit {mode.value!r}"
    if child.client_may_choose and not parent.client_may_choose:
        yield "modes.client_may_choose", "the parent lets no client choose"
    for mode in CONCRETE:
        for key, reason in _knobs(parent.knobs(mode), child.knobs(mode)):
            yield f"modes.{mode.value}.{key}", reason


def _knobs(parent: Knobs, child: Knobs) -> Iterator[Loosening]:
    yield from _range("block_length", parent.block_length, child.block_length)
    above, below = parent.block_length.choices, child.block_length.choices
    if above and not (below and set(below) <= set(above)):
        yield "block_length.choices", f"the parent permits only {list(above)}"
    yield from _range("max_steps", parent.max_steps, child.max_steps)
    if parent.threshold is not None and child.threshold is not None:
        yield from _range("threshold", parent.threshold, child.threshold)
    if child.seed_first.client_may_set and not parent.seed_first.client_may_set:
        yield "seed_first.client_may_set", "the parent lets no client set it"


def _limits(parent: Limits, child: Limits) -> Iterator[Loosening]:
    if child.max_tokens > parent.max_tokens:
        yield "limits.max_tokens", f"the parent's limit is {parent.max_tokens}"
    if child.max_prompt_tokens > parent.max_prompt_tokens:
        yield "limits.max_prompt_tokens", f"the parent's limit is {parent.max_prompt_tokens}"


def _range(key: str, parent: Range, child: Range) -> Iterator[Loosening]:
    if child.least < parent.least:
        yield f"{key}.least", f"the parent's is {parent.least}"
    if child.most > parent.most:
        yield f"{key}.most", f"the parent's is {parent.most}"
