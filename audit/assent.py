"""Whose signature counts for what, and what a cycle still lacks. The gateway asks before it acts, the verifier afterwards.

A person counts once, whichever way the signature came about: a delegate and the delegator are one here, so that nobody is
two. One signature may meet several obligations. Roles and groups are those that the decision itself records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from audit.acts import identity
from audit.approvals import ApprovalDecided, ApprovalOpened, Needed, ResultAttached

APPROVER: Final = "approver"
"""The role that decides."""
BREAKERS: Final = frozenset({APPROVER, "operator"})
"""Roles of which one may break the glass."""


def names_in(decided: ApprovalDecided) -> frozenset[str]:
    """The person of a signature, and whoever delegated it."""
    return frozenset(identity(name) for name in (decided.person, decided.on_behalf_of) if name is not None)


def is_eligible(opened: ApprovalOpened, needed: Needed, decided: ApprovalDecided) -> bool:
    """Whether this person may decide this obligation."""
    if APPROVER not in decided.roles:
        return False
    if needed.groups and set(needed.groups).isdisjoint(decided.groups):
        return False
    return not needed.separation_of_duties or opened.involved.isdisjoint(names_in(decided))


def lacking(opened: ApprovalOpened, decisions: Iterable[ApprovalDecided]) -> tuple[Needed, ...]:
    """The obligations that these approvals, each of another person, do not meet; a broken glass meets none."""
    kept = [each for each in decisions if each.decision == "approve" and each.method != "break_glass"]
    return tuple(needed for needed in opened.needed if sum(is_eligible(opened, needed, each) for each in kept) < needed.quorum)


def breaks_glass(opened: ApprovalOpened, decided: ApprovalDecided) -> bool:
    """Whether this decision lets the answer go by itself; nobody involved can do that where duties are separate."""
    separate = any(needed.separation_of_duties for needed in opened.needed)
    involved = separate and not opened.involved.isdisjoint(names_in(decided))
    return decided.method == "break_glass" and not BREAKERS.isdisjoint(decided.roles) and not involved


def untested(opened: ApprovalOpened, results: Iterable[ResultAttached]) -> bool:
    """Whether a passed test result is required and missing: the last of each name counts, and none may have failed."""
    if not any(needed.test_result_required for needed in opened.needed):
        return False
    last = {each.name: each.passed for each in results}
    return not last or not all(last.values())
