"""A log with held answers that people decide about, step by step, as a gateway tells it or otherwise."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from audit.approvals import ApprovalOpened, ApprovalVoided, bound, content_digest
from audit.header import Header, decode_header, uuid7
from audit.merkle import tree_root
from audit.records import Body, Delivery, Kind, RequestClose
from audit.verify import Report, verify
from tests.audit.approval_bodies import LATER_TEXT, decided, ended, opened
from tests.audit.samples import ORIGIN, SAMPLES, START, TENANT, WHOLE_REQUEST, Log


def _held_request() -> tuple[Body, ...]:
    """A request like the whole one, whose verdict is a hold and of which nothing was delivered."""
    close, empty = SAMPLES[Kind.REQUEST_CLOSE], Delivery(0, hashlib.sha256(b"").digest(), "withheld")
    assert isinstance(close, RequestClose)
    return (*WHOLE_REQUEST[:8], SAMPLES[Kind.RELEASE_DECISION], empty, replace(close, records=11))


HELD_REQUEST = _held_request()
DRAFTED = 8
"""Records before the verdict."""


class HeldLog(Log):
    """A log in which approvals are told, rightly or wrongly."""

    @classmethod
    def begun(cls, folder: Path, **change: Any) -> tuple[HeldLog, UUID, ApprovalOpened]:
        """With one held answer whose first cycle has begun."""
        log = cls(folder)
        generation = log.hold()
        return log, generation, log.begin(generation, **change)

    def hold(self) -> UUID:
        """One held answer, closed."""
        generation = uuid7(START)
        self.add(generation, HELD_REQUEST)
        return generation

    def cycle(self, generation: UUID, **change: Any) -> ApprovalOpened:
        """Cycle 1, bound to the drafts that are in the log."""
        rows = [(leaf, header) for leaf, header in zip(self.leaves, self.headers, strict=True) if header.request == generation]
        drafts = rows[:DRAFTED]
        place: dict[str, Any] = {
            "first_seq": drafts[0][1].seq, "last_seq": drafts[-1][1].seq, "draft_root": tree_root(leaf for leaf, _ in drafts),
        }  # fmt: skip
        return opened(generation, **(place | change))

    def begin(self, generation: UUID, **change: Any) -> ApprovalOpened:
        """Record the first cycle."""
        cycle = self.cycle(generation, **change)
        self.step(generation, cycle)
        return cycle

    def step(self, generation: UUID, body: Body, actor: str | None = None) -> int:
        """Record one step, by default in the name of its person; its seq."""
        self.add(generation, [body], actor=actor or getattr(body, "person", None) or "approvals")
        return len(self.rows) - 1

    @property
    def headers(self) -> list[Header]:
        """Headers of all rows."""
        return [decode_header(row.header) for row in self.rows]


def judge(log: HeldLog, out: Path) -> Report:
    """What the verifier says of it."""
    log.checkpoint()
    log.export(out)
    return verify(out, [log.signer.vkey], ORIGIN)


def released(log: HeldLog, generation: UUID, cycle: ApprovalOpened, *people: str) -> int:
    """The people approve, the answer leaves; the seq of its end."""
    signed = [log.step(generation, decided(cycle, person)) for person in people]
    before = sum(20 <= header.kind < 30 for header in log.headers if header.request == generation)
    return log.step(generation, ended(cycle, signed, before + 1))


def edit(log: HeldLog, generation: UUID, last: ApprovalOpened, editor: str = "grace", **change: Any) -> ApprovalOpened:
    """Somebody puts another text in its place."""
    log.step(generation, ApprovalVoided(last.cycle, "edited", editor, ""))
    said: dict[str, Any] = {
        "cycle": last.cycle + 1, "content": LATER_TEXT, "content_sha256": content_digest(LATER_TEXT),
        "contributors": (*last.contributors, editor),
    }  # fmt: skip
    following = bound(TENANT, generation, replace(last, **(said | change)))
    log.step(generation, following)
    return following
