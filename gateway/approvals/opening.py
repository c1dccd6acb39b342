"""The first record of an approval: written in the very commit that closes a held answer, so that none is held without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from audit.approvals import ApprovalOpened
from audit.errors import LogUnavailable
from audit.header import decode_header, leaf_hash
from audit.judgements import Due
from audit.merkle import tree_root
from audit.store import read_tenant
from gateway.approvals import terms
from gateway.approvals.terms import Drafted
from gateway.law.hearing import Law
from gateway.settings import DatabaseUrl


@dataclass(frozen=True, slots=True)
class HeldAnswer:
    """A finished answer that the law holds, before anything of that is recorded."""

    tenant: str
    generation: UUID
    caller: str
    contributors: Sequence[str]
    law: Law
    due: Sequence[Due]
    text: str
    last_seq: int
    """Of its records so far."""


class OpensApprovals(Protocol):
    """What a generation needs of approvals."""

    async def first(self, answer: HeldAnswer) -> ApprovalOpened: ...


class Openings:
    """Begins approvals of answers that this process generates."""

    def __init__(self, reader_url: DatabaseUrl, weights_digest: bytes) -> None:
        """The digest is that of the served model."""
        self._url, self._weights = reader_url, weights_digest

    async def first(self, answer: HeldAnswer) -> ApprovalOpened:
        """Cycle 1. Raises LogUnavailable where the log does not have the records that it would be bound to."""
        drafted, log_ts = await asyncio.to_thread(self._drafted, answer)
        policy = answer.law.policy
        return terms.first_cycle(
            answer.tenant,
            answer.generation,
            terms.terms(policy.document, answer.due),
            answer.text,
            drafted,
            (bytes(policy.digest), self._weights),
            answer.caller,
            answer.contributors,
            max(time.time_ns() // 1000, log_ts),
        )

    def _drafted(self, answer: HeldAnswer) -> tuple[Drafted, int]:
        """With the time that the log has come to, which a clock that was set back is behind."""
        with read_tenant(self._url, answer.tenant) as reader:
            raws = list(reader.request_headers(answer.generation))
        if not raws or decode_header(raws[-1]).seq != answer.last_seq:
            raise LogUnavailable("the log does not show the records of this answer yet: PALIMPSEST_READER_URL lags behind")
        drafted = Drafted(decode_header(raws[0]).seq, answer.last_seq, tree_root(map(leaf_hash, raws)))
        return drafted, decode_header(raws[-1]).ts
