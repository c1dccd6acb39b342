"""What a person, a role and a group may be called.

A user's name is 1 to 63 of a-z 0-9 . _ @ + - and starts with a letter or digit. It has no space and no slash, so a record
can name a user of tenant `system` as `system/ada` and an account of the operating system as `account root`, and nobody is
taken for another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from gateway.registry import RegistryError

_USER: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,62}", re.ASCII)
_MOST_TEXT, _MOST_GROUPS = 64, 64


class Role(StrEnum):
    """What a person may do; the roles of one person add up."""

    CALLER = "caller"
    """Ask the model, with API keys of one's own."""
    APPROVER = "approver"
    """Decide what is held."""
    AUDITOR = "auditor"
    """Read and export the log, and agree to what ends content."""
    POLICY_ADMIN = "policy_admin"
    """Write the law and bring it into force."""
    OPERATOR = "operator"
    """Run the house: people, keys, retention."""


def is_user_name(name: str) -> bool:
    """Whether anybody could be called so."""
    return _USER.fullmatch(name) is not None


def check_user_name(name: str) -> None:
    """Raise RegistryError, with the rule, for a name that nobody can have."""
    if not is_user_name(name):
        raise RegistryError("a user's name is 1 to 63 of a-z 0-9 . _ @ + - and starts with a letter or digit: choose another")


def check_display_name(text: str) -> None:
    """Raise RegistryError unless this is one trimmed line of 1 to 64 printable characters."""
    if not _is_line(text):
        raise RegistryError(f"a display name is one line of 1 to {_MOST_TEXT} printable characters: choose another")


def groups_of(names: Iterable[str]) -> tuple[str, ...]:
    """Groups in order, each once; raises RegistryError for too many or for a name that no policy could hold."""
    groups = tuple(sorted(set(names)))
    if len(groups) > _MOST_GROUPS:
        raise RegistryError(f"a user is in at most {_MOST_GROUPS} groups")
    if not all(map(_is_line, groups)):
        raise RegistryError(f"a group's name is one line of 1 to {_MOST_TEXT} printable characters: choose another")
    return groups


def roles_of(roles: Iterable[Role]) -> tuple[Role, ...]:
    """Roles in order, each once."""
    return tuple(sorted(set(roles)))


def _is_line(text: str) -> bool:
    return 0 < len(text) <= _MOST_TEXT and text.isprintable() and text == text.strip()
