"""A person at the API of a running gateway, as their own program would be: signed in, reading, and signing what was read."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final
from uuid import UUID

import httpx

from gateway.people.person import Person
from gateway.ui import forgery

PATIENCE_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
_HIDDEN: Final = re.compile(r'<input type="hidden" name="csrf" value="([0-9a-f]+)">')


class ApiRefused(Exception):
    """The gateway did not do what it was asked, in its own words."""


@dataclass(frozen=True, slots=True)
class Read:
    """A content that waits, and its hash as the API names it."""

    text: str
    content_sha256: str


class Approver:
    """One session, which ends with the `with` block."""

    def __init__(self, url: str, tenant: str, person: Person, password: str) -> None:
        """Sign in. Raises ApiRefused and httpx.HTTPError."""
        self.name, self._password = person.display_name, password
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        fields = {"tenant": tenant, "name": person.name, "password": password, "next": "/account"}
        self._told(self._client.post("/sign-in", data=fields | {"csrf": self._token("/sign-in")}), 303)

    def __enter__(self) -> Approver:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._client.close()

    def approve(self, generation: UUID) -> Read:
        """Wait until an answer is held, read it, and approve what was read. Raises ApiRefused and httpx.HTTPError."""
        place = f"/api/approvals/{generation}"
        self._await(place)
        shown = self._told(self._client.get(f"{place}/content"))
        read = Read(shown.json()["text"], shown.json()["content_sha256"])
        headers = {"if-match": shown.headers["etag"], forgery.HEADER: self._token("/account")}
        signed = {"decision": "approve", "password": self._password, "reason": "read in the demo"}
        self._told(self._client.post(f"{place}/decision", json=signed, headers=headers))
        return read

    def state(self, generation: UUID) -> str:
        """How its approval stands. Raises ApiRefused and httpx.HTTPError."""
        found: dict[str, Any] = self._told(self._client.get(f"/api/approvals/{generation}")).json()
        return str(found["state"])

    def _await(self, place: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._client.get(place).status_code == httpx.codes.NOT_FOUND and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _token(self, page: str) -> str:
        """The token of the forms of this session, as a page has it."""
        found = _HIDDEN.search(self._told(self._client.get(page, headers={"accept": "text/html"})).text)
        if found is None:
            raise ApiRefused(f"the page {page} has no form")
        return found[1]

    def _told(self, answer: httpx.Response, wanted: int = 200) -> httpx.Response:
        if answer.status_code != wanted:
            raise ApiRefused(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:200]}")
        return answer
