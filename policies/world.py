"""What a document may refer to and does not define: the caller of `check` names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class World:
    """Names that exist. A set that is None is not known here, and names of its kind are not checked."""

    models: frozenset[str] | None = None
    groups: frozenset[str] | None = None
    tools: frozenset[str] | None = None
    timezones: frozenset[str] | None = None


ANYWHERE = World()
