"""A generation as it is on record: what was known, what was decided, what came of it. Figures and names, no text needed."""

from __future__ import annotations

from dataclasses import dataclass, field

from policies.answer import Judged
from policies.facts import AnswerFacts, RequestFacts
from policies.prices import Usage
from policies.verdicts import Decision, Refusal, ReleaseRuling

ALLOW, REFUSE = "allow", "refuse"


@dataclass(frozen=True, slots=True)
class Admission:
    """A decision or refusal, as its record has it; a refusal has no mode, and `status` is 0 for a decision."""

    outcome: str
    reason: str
    mode: str
    modes_permitted: tuple[str, ...]
    release: str
    rules: tuple[str, ...]
    status: int

    @classmethod
    def of(cls, verdict: Decision | Refusal) -> Admission:
        """What goes on record of a verdict."""
        if isinstance(verdict, Refusal):
            return cls(REFUSE, f"{verdict.code.value}: {verdict.reason}", "", (), "stream", verdict.rules, verdict.status)
        permitted = tuple(mode.value for mode in verdict.modes_permitted)
        return cls(ALLOW, "", verdict.mode.value, permitted, verdict.release.value, verdict.rules, 0)


@dataclass(frozen=True, slots=True)
class Human:
    """What a person, or a test, found of the answer, and the seconds that it took them, where these are known."""

    good: bool
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One request. `day` counts days from any fixed one; `answer` and `release` are None where no answer was finished."""

    id: str
    day: int
    facts: RequestFacts
    admission: Admission
    units: tuple[Judged, ...] = ()
    answer: AnswerFacts | None = None
    release: ReleaseRuling | None = None
    usage: Usage = field(default_factory=Usage)
    human: Human | None = None
