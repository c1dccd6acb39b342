"""Laws of what several approvals of one hold come to together."""

from __future__ import annotations

import pytest

from audit.judgements import Due
from gateway.approvals.terms import terms
from tests.policies.documents import policy

HASTY = '[approvals.hasty]\nexpires_seconds = 2\nhold_seconds = 1\non_expire = "release"\n'
DAY = '[approvals.day]\nexpires_seconds = 86400\non_expire = "release"\n'
STERN = "[approvals.stern]\nexpires_seconds = 600\n"
DOCUMENT = policy(HASTY + DAY + STERN).document


@pytest.mark.parametrize(
    ("names", "seconds", "end"),
    [
        (("hasty",), 2, "release"),
        (("hasty", "day"), 86400, "release"),
        (("day", "hasty"), 86400, "release"),
        (("stern", "day"), 600, "reject"),
        (("stern", "hasty"), 2, "reject"),
    ],
)
def test_one_more_approval_never_weakens(names: tuple[str, ...], seconds: int, end: str) -> None:
    """The shortest time rejects; what goes by itself does so once the time of every approval is over, and never sooner."""
    found = terms(DOCUMENT, [Due(name, ("rule:eyes",)) for name in names])
    assert (found.expires_seconds, found.on_expire) == (seconds, end)
