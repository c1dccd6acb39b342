"""The demo's held answer: made, put before a person, approved with a password, and delivered on the connection that waited.

People and policy come into force as at the command line, each change on record. Run again, the people get new passwords. The
answer is approved as a person's own program would do it: signed in, over the API, about the very content that was read.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import openai

import policies
from audit.lifecycle import Lifecycle, Warrant
from gateway.administration import make_change
from gateway.database import Urls
from gateway.demo_approver import Approver
from gateway.law.enactment import Enactment
from gateway.law.shelf import Shelf
from gateway.on_record import writing
from gateway.people.directory import Directory
from gateway.people.names import Role
from gateway.people.passwords import check_new
from gateway.people.person import Account, Person
from gateway.people.two import Asked, prove_one
from gateway.people.users import new_password, new_user
from gateway.settings import Settings

POLICY: Final = policies.BASELINE.parent / "examples" / "demo.toml"
ADA: Final = Asked("ada", frozenset({Role.POLICY_ADMIN}))
GRACE: Final = Asked("grace", frozenset({Role.APPROVER, Role.AUDITOR}))


class NotHeld(Exception):
    """The demo's answer was not held, or not let go as it should have been."""


@dataclass(frozen=True, slots=True)
class HeldOnce:
    """The answer that was held, and how its approval ended."""

    approval: UUID
    state: str
    content_sha256: str
    by: str
    text: str

    def document(self) -> dict[str, Any]:
        """The `held` object of the demo's JSON."""
        return {"approval_id": str(self.approval), "state": self.state, "content_sha256": self.content_sha256}


class People:
    """Ada, who asks for the demo's policy, and Grace, who agrees to it and decides about answers."""

    def __init__(self, settings: Settings, urls: Urls, tenant: str) -> None:
        self._settings, self._urls, self._tenant = settings, urls, tenant
        self._policy = policies.load(POLICY)
        # Passwords that exist in this process alone.
        self._passwords = {asked.who: secrets.token_urlsafe(24) for asked in (ADA, GRACE)}
        with closing(Directory(urls.app)) as directory:
            known = {user.name for user in directory.users(tenant)}
            self._ada, self._grace = (self._proved(directory, asked, asked.who in known) for asked in (ADA, GRACE))

    def enact(self) -> None:
        """Put the demo's policy in force, unless it is."""
        asyncio.run(self._enact())

    def approver(self, url: str) -> Approver:
        """Grace at a gateway. Raises ApiRefused and httpx.HTTPError."""
        return Approver(url, self._tenant, self._grace, self._passwords[GRACE.who])

    def _proved(self, directory: Directory, asked: Asked, known: bool) -> Person:
        hashed = directory.passwords.hash(check_new(self._passwords[asked.who], asked.who))
        made = new_user(self._tenant, asked.who, asked.who.title(), asked.roles, (), hashed)
        change = new_password(self._tenant, asked.who, hashed) if known else made
        make_change(self._settings, self._urls, self._tenant, Account.mine(), change)
        return prove_one(directory.prover, lambda _: self._passwords[asked.who], asked, self._tenant)

    async def _enact(self) -> None:
        with closing(Shelf(self._urls.app)) as shelf:
            async with writing(self._settings, self._urls, self._tenant) as writer:
                lifecycle = Lifecycle(writer, self._urls.app, self._urls.reader, self._settings.keys)
                enactment = Enactment(lifecycle, shelf, policies.load(policies.BASELINE))
                now = (await enactment.laws(self._tenant)).in_force
                if now is None or now.digest != bytes(self._policy.digest):
                    people = (self._ada.on_record, self._grace.on_record)
                    await enactment.apply(self._tenant, self._policy, Warrant("the demo's policy", *people))


def hold_one(client: openai.OpenAI, model: str, question: str, approver: Approver, **more: Any) -> HeldOnce:
    """Ask at high risk, have the answer approved while the stream is kept open, and read it from there. Raises NotHeld."""
    asked = client.chat.completions.with_streaming_response.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        stream=True,
        extra_body={"palimpsest": {"risk": "high"}},
        **more,
    )
    with asked as response:
        generation = UUID(response.headers["x-palimpsest-generation"])
        read = approver.approve(generation)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in response.parse() if chunk.choices)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if text != read.text or digest != read.content_sha256:
        raise NotHeld("what came is not what was approved")
    return HeldOnce(generation, approver.state(generation), digest, approver.name, text)
