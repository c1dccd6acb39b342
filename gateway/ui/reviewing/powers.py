"""What the person who looks may do about a held answer; asked of the same rules that a decision meets, before anybody signs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from audit.acts import identity
from audit.approvals import Delegation
from audit.assent import BREAKERS
from gateway.approvals import rules
from gateway.approvals.case import Case, State
from gateway.approvals.choices import Approve, Choice, NotDecided, Reject
from gateway.people.names import Role
from gateway.people.person import Person
from gateway.ui.failures import sentence

CODES: Final = ("wrong", "unsafe", "out_of_scope", "unsure", "against_policy", "other")
"""Reason codes of a rejection."""


@dataclass(frozen=True, slots=True)
class May:
    """Texts are why not, empty for yes; the others say whether there is such an act now."""

    approve: str
    reject: str
    edit: str
    revoke: bool
    attach: bool
    cancel: bool
    glass: bool
    recall: bool
    review: bool

    @property
    def more(self) -> bool:
        """Whether there is anything beyond deciding."""
        return any((self.revoke, self.attach, self.cancel, self.glass, self.recall, self.review))


def powers(case: Case, by: Person, lent: tuple[str, ...]) -> May:
    """Of this person; where a right is `lent`, the refusal of one's own is not the last word."""
    sha, open_case = case.content_sha256, not case.state.ended
    signed = any(identity(each.decided.person) == identity(by.on_record) for each in case.signatures)
    involved = identity(by.on_record) in case.opened.involved
    tested = any(needed.test_result_required for needed in case.opened.needed)
    return May(
        approve="" if lent else _objection(case, Approve(sha), by),
        reject="" if lent else _objection(case, Reject(sha, CODES[0]), by),
        edit=_told(rules.undecidable(case, sha, by)) or _no_edit(case, by),
        revoke=open_case and signed,
        attach=open_case and tested and rules.may_attach(case, by) is None,
        cancel=open_case and (involved or not by.roles.isdisjoint((Role.APPROVER, Role.OPERATOR))),
        glass=case.state is State.PENDING and not involved and not by.roles.isdisjoint(BREAKERS),
        recall=rules.may_look_back(case, "recall", by) is None,
        review=case.review_due and rules.may_look_back(case, "review", by) is None,
    )


def lent_to(delegations: tuple[Delegation, ...], by: Person) -> tuple[str, ...]:
    """Who has lent this person the right to decide, now; each once, however often."""
    now = time.time_ns() // 1000
    lenders = (
        each.requested_by
        for each in delegations
        if not each.revoked and each.starts_at <= now < each.ends_at and identity(each.to) == identity(by.on_record)
    )
    return tuple(dict.fromkeys(lenders))


def _no_edit(case: Case, by: Person) -> str:
    if not all(needed.edit_allowed for needed in case.opened.needed):
        return "The policy does not let this answer be edited."
    return "" if Role.APPROVER in by.roles else "Editing takes the role approver."


def _objection(case: Case, choice: Choice, by: Person) -> str:
    against = rules.undecidable(case, choice.content_sha256, by)
    return _told(against or rules.objection(case, choice, rules.signature(case, choice, by, rules.own_authority(by))))


def _told(refusal: NotDecided | None) -> str:
    return "" if refusal is None else sentence(refusal.message)
