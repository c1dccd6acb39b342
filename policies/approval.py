"""What a person must do before a held answer may leave."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from policies.words import Closed, Name, Seconds

DEFAULT_APPROVAL: Final = "default"
"""What a hold asks for that names no approval."""


class OnExpire(StrEnum):
    """What becomes of an answer that nobody decided in time."""

    REJECT = "reject"
    RELEASE = "release"


class Approval(Closed, frozen=True, kw_only=True):
    """An obligation by name. Times count from the hold.

    `groups` may decide, any approver where none is named. With `separation_of_duties` neither requester nor contributor may.
    For `hold_seconds` the client's connection is kept open; a decision may come until `expires_seconds`.
    """

    groups: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    quorum: Annotated[int, Meta(ge=1, le=16)] = 1
    separation_of_duties: bool = True
    hold_seconds: Seconds = 240
    expires_seconds: Annotated[int, Meta(ge=1, le=31_536_000)] = 86_400
    on_expire: OnExpire = OnExpire.REJECT
    edit_allowed: bool = False
    test_result_required: bool = False
