"""What people of one log may do by its records apart from any case: who decides for whom, and whose a passkey is."""

from __future__ import annotations

from dataclasses import dataclass, field

from audit.delegations import Delegations
from audit.enrolments import Enrolments


@dataclass(slots=True)
class Powers:
    """Folded in order of seq."""

    delegations: Delegations = field(default_factory=Delegations)
    enrolments: Enrolments = field(default_factory=Enrolments)
