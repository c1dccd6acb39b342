"""What the review page says after an act: what is true of whoever looks and of this answer, for anybody may open the link."""

from __future__ import annotations

from audit.acts import identity
from gateway.approvals.case import Case
from gateway.people.person import Person
from gateway.ui import notices
from gateway.ui.reviewing.waiting import Line


def done(name: str, case: Case, line: Line | None, by: Person) -> str:
    """The sentence of that name, empty where it does not hold."""
    me = identity(by.on_record)
    signed = [each.decided for each in case.signatures if identity(each.decided.person) == me]
    others = (*case.results, *case.after, *((case.ended,) if case.ended is not None else ()))
    reader = None if line is None else line.row.locked_by
    holds = {
        "approved": any(each.decision == "approve" for each in signed),
        "rejected": any(each.decision == "reject" for each in signed),
        "edited": case.opened.content is not None and not case.state.ended,
        "taken-back": not signed and not case.state.ended,
        "saved": any(each.method == "break_glass" for each in signed)
        or any(each.person is not None and identity(each.person) == me for each in others),
        "desk": True,
        "taken": reader is not None and identity(reader) != me,
    }
    return notices.of_answer(name) if holds.get(name, False) else ""
