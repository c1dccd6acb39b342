"""What takes two people, and the roles that the two must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.people.names import Role


@dataclass(frozen=True, slots=True)
class Duty:
    """The roles of whoever asks for it, and of the other who agrees."""

    asks: frozenset[Role]
    agrees: frozenset[Role]


CONTENT: Final = Duty(frozenset({Role.OPERATOR}), frozenset({Role.AUDITOR}))
"""What ends content. Who runs the house asks, who answers for the evidence agrees: neither can do it alone."""
LAW: Final = Duty(frozenset({Role.POLICY_ADMIN}), frozenset({Role.POLICY_ADMIN, Role.AUDITOR}))
"""Another policy. Who writes the law asks; a second one, or who answers for the evidence, agrees."""
