"""The cookies: who is signed in, the token of a form before anybody is, the tenant in view, and the theme.

Over https each has the prefix `__Host-`, so that no other host and no plain connection can set it. No script can read one, and
none comes along with a request that another site began.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from litestar import Request
from litestar.datastructures import Cookie

YEAR: Final = 365 * 86_400


class Name(StrEnum):
    """What each cookie is called over plain http."""

    SESSION = "palimpsest_session"
    VISIT = "palimpsest_visit"
    TENANT = "palimpsest_tenant"
    THEME = "palimpsest_theme"


@dataclass(frozen=True, slots=True)
class Jar:
    """Reads and writes cookies; `secure` when people reach this gateway by https."""

    secure: bool

    def called(self, name: Name) -> str:
        """The cookie's name on the wire."""
        return f"__Host-{name}" if self.secure else name.value

    def read(self, request: Request[Any, Any, Any], name: Name) -> str | None:
        """The value that came along."""
        return request.cookies.get(self.called(name))

    def kept(self, name: Name, value: str, seconds: int | None = None) -> Cookie:
        """A cookie to be set, until the browser ends unless a time is given."""
        return Cookie(
            key=self.called(name), value=value, max_age=seconds, path="/", secure=self.secure, httponly=True, samesite="strict"
        )

    def gone(self, name: Name) -> Cookie:
        """A cookie to be forgotten."""
        return self.kept(name, "", 0)
