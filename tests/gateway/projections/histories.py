"""Requests as logs tell them: short scripts of records, each step with the stage at which its request then stands."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import policies
from audit.approvals import (
    AfterRelease,
    ApprovalDecided,
    ApprovalEnded,
    ApprovalOpened,
    ApprovalRevoked,
    ApprovalVoided,
    ApprovedDelivery,
    Attached,
    Needed,
)
from audit.header import uuid7
from audit.records import Body, Delivery, Kind
from audit.writer import Entry
from gateway.projections.folding import Stage
from tests.audit.samples import LATER, SAMPLES

DAY_AFTER = (int(time.time()) + 86_400) * 1_000_000
POLICY = bytes(policies.load(policies.BASELINE).digest)
TEXT = "the answer"
EDITED = "a better answer"
NEEDED = Needed("default", ("gate:sure",), ("leads",), 1, True, True, False)
Step = tuple[tuple[Body, ...], Stage]


def sample(kind: Kind, **changes: object) -> Body:
    """A body of this kind, changed as said."""
    found: Any = SAMPLES[kind]
    changed: Body = replace(found, **changes)
    return changed


def digest(text: str) -> bytes:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).digest()


def delivered(text: str, outcome: str = "complete") -> Body:
    """What a client got."""
    return Delivery(len(text), digest(text), outcome)


def opened(mode: str = "diffusion") -> Body:
    """A request that may run."""
    return sample(Kind.REQUEST_OPEN, mode=mode, prompt_tokens=11, workflow="release")


def closed(reason: str = "stop") -> Body:
    """Its end: 11 tokens of prompt, 7 of answer, 6 forwards."""
    return sample(Kind.REQUEST_CLOSE, reason=reason, prompt_tokens=11)


def verdict(word: str) -> Body:
    """What the law said of the whole answer."""
    return sample(Kind.RELEASE_DECISION, verdict=word)


def cycle(number: int = 1, text: str = TEXT) -> ApprovalOpened:
    """A cycle over this text, which one person of the leads may decide."""
    return ApprovalOpened(
        number, digest(text), None if number == 1 else text, 0, 5, bytes(32), POLICY, bytes(32), (NEEDED,), DAY_AFTER, "reject",
        "key-1", ("ada",), bytes(32),
    )  # fmt: skip


def decided(decision: str = "approve", number: int = 1, person: str = "grace") -> Body:
    """One person's signature."""
    return ApprovalDecided(
        number, bytes(32), decision, person, person.title(), ("approver",), ("leads",), "approval", "password", "none",
        "wrong" if decision == "reject" else "right", "looked at it", None, 40,
    )  # fmt: skip


def ended(outcome: str, why: str, number: int = 1, text: str = TEXT) -> Body:
    """The end of a case."""
    person = "ada" if why == "cancelled" else None
    return ApprovalEnded(number, outcome, why, digest(text), bytes(32), (), person, False, 3)


def asked(mode: str) -> tuple[Step, ...]:
    """The beginning of every request that runs."""
    first = (opened(mode), sample(Kind.PROMPT_BODY), sample(Kind.POLICY_DECISION))
    return ((first, Stage.GENERATING), ((sample(Kind.DECODE_RUN),), Stage.GENERATING))


def held(mode: str) -> tuple[Step, ...]:
    """An answer before people."""
    end = (verdict("hold"), Delivery(0, digest(""), "withheld"), closed(), cycle())
    return (*asked(mode), (end, Stage.PENDING))


SCRIPTS: dict[str, Callable[[str], tuple[Step, ...]]] = {
    "answered": lambda mode: (*asked(mode), ((verdict("allow"), delivered(TEXT), closed()), Stage.ANSWERED)),
    "refused": lambda mode: (((LATER[Kind.POLICY_DECISION],), Stage.REFUSED),),
    "blocked": lambda mode: (
        *asked(mode), ((verdict("block"), delivered("", "withheld"), closed("blocked")), Stage.BLOCKED),
    ),
    "cut": lambda mode: (*asked(mode), ((delivered("the", "aborted"),), Stage.CUT), ((closed("aborted"),), Stage.CUT)),
    "failed": lambda mode: (*asked(mode), ((delivered("", "aborted"), closed("fault")), Stage.FAILED)),
    "abandoned": lambda mode: (*asked(mode), ((sample(Kind.REQUEST_ABANDONED),), Stage.ABANDONED)),
    "attached": lambda mode: (((Attached(uuid7(), "openai.chat"),), Stage.ATTACHED),),
    "held": held,
    "released": lambda mode: (
        *held(mode), ((decided(),), Stage.APPROVED),
        ((ended("released", "approved"), ApprovedDelivery(uuid7(), len(TEXT), digest(TEXT))), Stage.RELEASED),
        ((AfterRelease("recall", "grace", "it was wrong"),), Stage.RELEASED),
    ),
    "rejected": lambda mode: (
        *held(mode), ((decided("reject"),), Stage.REJECTED), ((ended("withheld", "rejected"),), Stage.REJECTED),
    ),
    "expired": lambda mode: (*held(mode), ((ended("withheld", "expired"),), Stage.EXPIRED)),
    "cancelled": lambda mode: (*held(mode), ((ended("withheld", "cancelled"),), Stage.CANCELLED)),
    "revoked": lambda mode: (
        *held(mode), ((decided(),), Stage.APPROVED), ((ApprovalRevoked(1, bytes(32), "grace", "no"),), Stage.PENDING),
    ),
    "edited": lambda mode: (
        *held(mode), ((ApprovalVoided(1, "edited", "lin", "clearer"), cycle(2, EDITED)), Stage.PENDING),
        ((decided(number=2),), Stage.APPROVED),
        ((ended("released", "approved", 2, EDITED), ApprovedDelivery(uuid7(), 9, digest(EDITED))), Stage.RELEASED),
    ),
}  # fmt: skip


@dataclass
class Request:
    """A request on its way through a script."""

    name: str
    mode: str
    caller: str
    id: UUID = field(default_factory=uuid7)
    done: int = 0

    @property
    def steps(self) -> Sequence[Step]:
        """All of its steps."""
        return SCRIPTS[self.name](self.mode)

    @property
    def stage(self) -> Stage:
        """Where it stands."""
        return self.steps[self.done - 1][1]

    @property
    def over(self) -> bool:
        """Whether nothing is left of it."""
        return self.done == len(self.steps)

    def next(self, tenant: str) -> list[Entry]:
        """The records of its next step."""
        bodies, _ = self.steps[self.done]
        self.done += 1
        return [Entry(tenant, self.id, self.caller, POLICY, body) for body in bodies]

    def rest(self, tenant: str) -> list[Entry]:
        """The records of all that is left."""
        found: list[Entry] = []
        while not self.over:
            found += self.next(tenant)
        return found
