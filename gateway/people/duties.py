"""What takes certain roles wherever it is done, at the pages, the API or a command line; and what takes two people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.people.names import Role

READS_CONTENT: Final = (Role.APPROVER, Role.AUDITOR)
"""Roles that may read what was asked and answered. Whoever runs the house may not."""
READS_HELD: Final = (*READS_CONTENT, Role.OPERATOR)
"""Roles that may read an answer that people decide about: whoever breaks the glass sees what for."""
SHARES_WORK: Final = (Role.APPROVER, Role.OPERATOR)
"""Roles that say who looks after what waits, and in what order. It decides nothing."""


@dataclass(frozen=True, slots=True)
class Duty:
    """The roles of whoever asks for it, and of the other who agrees."""

    asks: frozenset[Role]
    agrees: frozenset[Role]


CONTENT: Final = Duty(frozenset({Role.OPERATOR}), frozenset({Role.AUDITOR}))
"""What ends content. Who runs the house asks, who answers for the evidence agrees: neither can do it alone."""
LAW: Final = Duty(frozenset({Role.POLICY_ADMIN}), frozenset({Role.POLICY_ADMIN, Role.AUDITOR}))
"""Another policy. Who writes the law asks; a second one, or who answers for the evidence, agrees."""
