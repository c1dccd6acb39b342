"""Who may do what to a held answer, before it is done. Pure: a case, a proved person and the clock; the answer is a value.

The same rules of whose signature counts (`audit/assent.py`) are asked by the verifier of what was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from audit.acts import identity
from audit.approvals import ApprovalDecided, Delegation
from audit.assent import BREAKERS, breaks_glass, is_eligible, names_in, untested
from audit.passkeys import write_evidence
from gateway.approvals.case import Case, State
from gateway.approvals.choices import Approve, BreakGlass, Choice, NotDecided, Reject, TestResult
from gateway.people.duties import READS_HELD
from gateway.people.names import Role
from gateway.people.person import Asserted, Person, Signer, person_of

MOST_REASON: Final = 2048
"""Bytes of a reason, as records have it."""
LONGEST_LOOK: Final = 86_400
"""Seconds of looking that a signature tells at most."""
MOST_TEXT: Final = 4_194_304
"""Bytes of an edited answer."""


@dataclass(frozen=True, slots=True)
class Authority:
    """In whose right somebody decides, with the roles and groups of this moment."""

    roles: tuple[str, ...]
    groups: tuple[str, ...]
    on_behalf_of: str | None = None
    limited: bool = False
    """Whether the right was lent for some groups and no more."""


def sayable(text: str, least: int = 0, most: int = MOST_REASON) -> bool:
    """Whether a record can hold this text."""
    try:
        return least <= len(text.encode()) <= most and "\0" not in text
    except UnicodeEncodeError:
        return False


def overlong(reason: str) -> NotDecided | None:
    """Why this is no reason, where none has to be given."""
    good = sayable(reason.strip())
    return None if good else NotDecided("not_permitted", f"a reason has at most {MOST_REASON} bytes")


def untold(result: TestResult) -> NotDecided | None:
    """What a test result lacks in words."""
    good = sayable(result.name.strip(), least=1, most=256) and sayable(result.detail, most=65_536)
    return None if good else NotDecided("not_permitted", "a test result has a name of at most 256 bytes and 64 KiB of details")


def unspoken(reason: str) -> NotDecided | None:
    """Why this is no reason, where one has to be given."""
    good = sayable(reason.strip(), least=1)
    return None if good else NotDecided("not_permitted", f"say why, in at most {MOST_REASON} bytes")


def own_authority(by: Person) -> Authority:
    """A person's own right."""
    return Authority(tuple(sorted(role.value for role in by.roles)), by.groups)


def lent_authority(delegations: Sequence[Delegation], roles: Iterable[str], groups: Iterable[str]) -> Authority:
    """The right of one delegator, who has these roles and groups now, as far as all that holds together lends it."""
    limited = all(each.groups for each in delegations)
    named = {group for each in delegations for group in each.groups}
    lent = tuple(group for group in groups if not limited or group in named)
    return Authority(tuple(sorted(roles)), lent, delegations[0].requested_by, limited)


def beyond_loan(case: Case, authority: Authority) -> NotDecided | None:
    """Why a right that was lent for some groups does not do here: where no group is asked for, the signature would count too.

    The verifier does not ask this: a decision that was recorded before the gateway did stays lawful.
    """
    if not authority.limited or all(needed.groups for needed in case.opened.needed):
        return None
    return NotDecided(
        "not_permitted", f"{authority.on_behalf_of!r} lent you the right for some groups only, and this names none"
    )


def unsaid(choice: Choice) -> NotDecided | None:
    """What a choice lacks in words."""
    if isinstance(choice, Reject) and not sayable(choice.reason_code.strip(), least=1, most=256):
        return NotDecided("not_permitted", "a rejection names a reason code of at most 256 bytes")
    return unspoken(choice.reason) if isinstance(choice, BreakGlass) else overlong(choice.reason)


def unsigned(case: Case, choice: Choice, by: Signer) -> NotDecided | None:
    """Why this is no signature under this choice; a password is one under any."""
    if not isinstance(by, Asserted):
        return None
    if isinstance(choice, BreakGlass):
        return NotDecided("not_permitted", "breaking the glass takes your password")
    if by.challenge != case.opened.binding or by.challenge != choice.binding:
        return NotDecided("stale_binding", "your passkey signed another cycle than the one that is open: look again")
    if by.assertion.statement in case.asserted:
        return NotDecided("already_decided", "your passkey has signed just this before: give your password")
    return None


def signature(case: Case, choice: Choice, by: Signer, authority: Authority) -> ApprovalDecided:
    """The decision as it would be recorded."""
    person, evidence = person_of(by), write_evidence(by.assertion) if isinstance(by, Asserted) else ""
    return ApprovalDecided(
        cycle=case.opened.cycle,
        binding=case.opened.binding,
        decision="reject" if isinstance(choice, Reject) else "approve",
        person=person.on_record,
        display_name=person.display_name,
        roles=authority.roles,
        groups=authority.groups,
        meaning=choice.meaning,
        method="break_glass" if isinstance(choice, BreakGlass) else "webauthn" if evidence else "password",
        evidence=evidence,
        reason_code=choice.reason_code.strip() if isinstance(choice, Reject) else "",
        reason=choice.reason.strip(),
        on_behalf_of=authority.on_behalf_of,
        seconds_looked=min(max(choice.seconds_looked, 0), LONGEST_LOOK),
    )


def undecidable(case: Case, content_sha256: bytes, by: Person, binding: bytes | None = None) -> NotDecided | None:
    """Why nothing can be done to this cycle by this person, whatever it is; None if something can."""
    if not by.serves(case.tenant):
        return NotDecided("unknown", "there is no such approval")
    if case.state.ended:
        return NotDecided("ended", f"this answer was {case.state} already")
    if case.content_sha256 != content_sha256:
        return NotDecided("stale_content", "the content is another now than the one you looked at: look again")
    if binding is not None and case.opened.binding != binding:
        return NotDecided("stale_binding", "what the approval is bound to has changed since you looked: look again")
    return None


def objection(case: Case, choice: Choice, decided: ApprovalDecided) -> NotDecided | None:
    """Why this signature would not count; None if it would. The cycle itself is open, see `undecidable`."""
    if any(not names_in(each.decided).isdisjoint(names_in(decided)) for each in case.signatures):
        return NotDecided("already_decided", "you have decided this already, or whoever you decide for has: it counts once")
    if isinstance(choice, BreakGlass):
        return _glass(case, decided)
    if not any(is_eligible(case.opened, needed, decided) for needed in case.opened.needed):
        return _ineligible(case, decided)
    if isinstance(choice, Approve) and untested(case.opened, case.results):
        return NotDecided("test_required", "a passed test result has to be attached before anybody can approve")
    return None


def may_edit(case: Case, text: str, by: Person) -> NotDecided | None:
    """Why this person may not put another text in place of the answer."""
    if not all(needed.edit_allowed for needed in case.opened.needed):
        return NotDecided("not_permitted", "the policy does not let this answer be edited")
    if Role.APPROVER not in by.roles:
        return NotDecided("not_permitted", "editing takes the role approver")
    if not sayable(text, least=1, most=MOST_TEXT):
        return NotDecided("not_permitted", "an edited answer has 1 byte to 4 MiB")
    return None


def may_attach(case: Case, by: Person) -> NotDecided | None:
    """Why this person's test result would not count."""
    if by.roles.isdisjoint(READS_HELD):
        return NotDecided("not_permitted", "attaching a test result takes the role approver, operator or auditor")
    separate = any(needed.separation_of_duties for needed in case.opened.needed)
    if separate and identity(by.on_record) in case.opened.involved:
        return NotDecided("excluded", "whoever is involved in an answer does not test it")
    return None


def may_look_back(case: Case, act: str, by: Person) -> NotDecided | None:
    """Why this person may not recall a released answer, or review its broken glass."""
    if case.state is not State.RELEASED:
        return NotDecided("not_pending", "this answer has not been released")
    if by.roles.isdisjoint(READS_HELD):
        return NotDecided("not_permitted", "this takes the role approver, operator or auditor")
    if act == "review" and not case.broke_glass:
        return NotDecided("not_pending", "no glass was broken for this answer")
    if act == "review" and any(identity(by.on_record) in names_in(each.decided) for each in case.signatures
                               if each.decided.method == "break_glass"):  # fmt: skip
        return NotDecided("excluded", "somebody else than who broke the glass has to look at it")
    return None


def _glass(case: Case, decided: ApprovalDecided) -> NotDecided | None:
    if BREAKERS.isdisjoint(decided.roles):
        return NotDecided("not_permitted", f"breaking the glass takes the role {' or '.join(sorted(BREAKERS))}")
    return None if breaks_glass(case.opened, decided) else _ineligible(case, decided)


def _ineligible(case: Case, decided: ApprovalDecided) -> NotDecided:
    if not case.opened.involved.isdisjoint(names_in(decided)):
        return NotDecided("excluded", "you are involved in this answer: it takes somebody who did not ask for it or edit it")
    groups = sorted({group for needed in case.opened.needed for group in needed.groups})
    among = f" in one of the groups {', '.join(groups)}" if groups else ""
    return NotDecided("not_permitted", f"deciding this takes the role approver{among}")
