"""The names that exist in this installation, which a document may use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import policies
from gateway.law.clock import timezones


class Grouped(Protocol):
    """A user, as far as groups go."""

    @property
    def groups(self) -> tuple[str, ...]: ...


def world_of(model: str, users: Iterable[Grouped]) -> policies.World:
    """The model that is served, the groups that these users are in, and the time zones of this machine."""
    groups = frozenset(group for user in users for group in user.groups)
    return policies.World(models=frozenset({model}), groups=groups, timezones=timezones())
