"""What a policy asks for before a held answer may leave, and the cycles that follow from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias
from uuid import UUID

import policies
from audit.approvals import ApprovalOpened, Needed, bound, content_digest
from audit.judgements import Due
from policies.approval import DEFAULT_APPROVAL
from policies.verdicts import OTHER_POLICY

OTHER_MODEL: Final = "model_changed"
"""The label of what is held again because another model is served."""
SECOND: Final = 1_000_000
Change: TypeAlias = Literal["policy", "model"]


@dataclass(frozen=True, slots=True)
class Terms:
    """The obligations of a hold together: the shortest time binds, and nothing goes by itself before all agree that it may."""

    needed: tuple[Needed, ...]
    expires_seconds: int
    on_expire: str


@dataclass(frozen=True, slots=True)
class Drafted:
    """The records that made an answer: their place in the log and the RFC 6962 root over their leaves."""

    first_seq: int
    last_seq: int
    root: bytes


def terms(document: policies.Document, due: Iterable[Due]) -> Terms:
    """What this document asks for. An approval that it does not have any more becomes the default one."""
    named = [(each, _approval(document, each.approval)) for each in due]
    released = all(approval.on_expire is policies.OnExpire.RELEASE for _, approval in named)
    seconds = [approval.expires_seconds for _, approval in named]
    return Terms(
        needed=tuple(_needed(each, approval) for each, approval in named),
        expires_seconds=max(seconds) if released else min(seconds),
        on_expire="release" if released else "reject",
    )


def first_cycle(
    tenant: str, generation: UUID, asked: Terms, text: str, drafted: Drafted, under: tuple[bytes, bytes], requester: str,
    contributors: Sequence[str], now: int,
) -> ApprovalOpened:  # fmt: skip
    """Cycle 1, about the answer as generated; `under` has the digests of policy and weights, `now` is in microseconds."""
    opened = ApprovalOpened(
        cycle=1,
        content_sha256=content_digest(text),
        content=None,
        first_seq=drafted.first_seq,
        last_seq=drafted.last_seq,
        draft_root=drafted.root,
        policy_digest=under[0],
        weights_digest=under[1],
        needed=asked.needed,
        expires_at=now + asked.expires_seconds * SECOND,
        on_expire=asked.on_expire,
        requester=requester,
        contributors=tuple(dict.fromkeys(contributors)),
        binding=bytes(32),
    )
    return bound(tenant, generation, opened)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Another text, and whose it is."""

    text: str
    editor: str


def next_cycle(
    tenant: str, generation: UUID, last: ApprovalOpened, asked: Terms, under: tuple[bytes, bytes], now: int,
    rewritten: Rewritten | None = None,
) -> ApprovalOpened:  # fmt: skip
    """The cycle that follows a void one: under the terms and digests of now, about the same content or an editor's."""
    fresh = replace(
        last,
        cycle=last.cycle + 1,
        policy_digest=under[0],
        weights_digest=under[1],
        needed=asked.needed,
        expires_at=now + asked.expires_seconds * SECOND,
        on_expire=asked.on_expire,
        content=last.content if rewritten is None else rewritten.text,
        content_sha256=last.content_sha256 if rewritten is None else content_digest(rewritten.text),
        contributors=last.contributors if rewritten is None else tuple(dict.fromkeys((*last.contributors, rewritten.editor))),
    )
    return bound(tenant, generation, fresh)


def changed(last: ApprovalOpened, under: tuple[bytes, bytes]) -> Change | None:
    """What is another now than the cycle was bound to."""
    if last.policy_digest != under[0]:
        return "policy"
    return "model" if last.weights_digest != under[1] else None


def due_again(last: ApprovalOpened, change: Change | None) -> tuple[Due, ...]:
    """What the last cycle asked for, to be asked for anew, and why."""
    more = {"policy": (OTHER_POLICY,), "model": (OTHER_MODEL,), None: ()}[change]
    return tuple(Due(each.approval, tuple(dict.fromkeys((*each.because, *more)))) for each in last.needed)


def _approval(document: policies.Document, name: str) -> policies.Approval:
    return document.approval(name if name in document.approvals else DEFAULT_APPROVAL)


def _needed(due: Due, approval: policies.Approval) -> Needed:
    return Needed(
        approval=due.approval,
        because=due.because,
        groups=approval.groups,
        quorum=approval.quorum,
        separation_of_duties=approval.separation_of_duties,
        edit_allowed=approval.edit_allowed,
        test_result_required=approval.test_result_required,
    )
