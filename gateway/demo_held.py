"""The demo's held answer: made, put before a person, approved with a password, and delivered on the connection that waited.

People and policy come into force as at the command line, each change on record. Run again, the people get new passwords.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

import openai

import policies
from audit.keys import KeyStore
from audit.lifecycle import Lifecycle, Warrant
from engine.model import checkpoint
from gateway.administration import make_change
from gateway.approvals.approvals import Approvals
from gateway.approvals.case import Case
from gateway.approvals.choices import Approve
from gateway.approvals.desk import Served
from gateway.database import Urls
from gateway.law.enactment import Enactment
from gateway.law.lawbook import Lawbook, Standing
from gateway.law.shelf import Shelf
from gateway.on_record import writing
from gateway.people.directory import Directory
from gateway.people.names import Role
from gateway.people.passwords import check_new
from gateway.people.person import Account, Person
from gateway.people.two import Asked, prove_one
from gateway.people.users import new_password, new_user
from gateway.settings import Settings

T = TypeVar("T")
POLICY: Final = policies.BASELINE.parent / "examples" / "demo.toml"
ADA: Final = Asked("ada", frozenset({Role.POLICY_ADMIN}))
GRACE: Final = Asked("grace", frozenset({Role.APPROVER, Role.AUDITOR}))
PATIENCE_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1


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
        self._policy, model = policies.load(POLICY), checkpoint.load(settings.checkpoint)
        self._served = Served(bytes.fromhex(model.weights_digest), model.tokenizer.decode_bytes)
        with closing(Directory(urls.app)) as directory:
            known = {user.name for user in directory.users(tenant)}
            self.ada, self.grace = (self._proved(directory, asked, asked.who in known) for asked in (ADA, GRACE))

    def enact(self) -> None:
        """Put the demo's policy in force, unless it is."""
        asyncio.run(self._enact())

    def decide(self, generation: UUID) -> Case:
        """Grace approves an answer as soon as it is held; how it stands then. Raises NotHeld."""
        return asyncio.run(self._in_service(lambda approvals: self._approve(approvals, generation)))

    def look(self, generation: UUID) -> Case | None:
        """How an approval stands."""
        return asyncio.run(self._in_service(lambda approvals: approvals.find(self._tenant, generation)))

    def _proved(self, directory: Directory, asked: Asked, known: bool) -> Person:
        """The person, with a password that exists in this process alone."""
        password = secrets.token_urlsafe(24)
        hashed = directory.passwords.hash(check_new(password, asked.who))
        title = asked.who.title()
        made = new_user(self._tenant, asked.who, title, asked.roles, (), hashed)
        change = new_password(self._tenant, asked.who, hashed) if known else made
        make_change(self._settings, self._urls, self._tenant, Account.mine(), change)
        return prove_one(directory.prover, lambda _: password, asked, self._tenant)

    async def _enact(self) -> None:
        with closing(Shelf(self._urls.app)) as shelf:
            async with writing(self._settings, self._urls, self._tenant) as writer:
                lifecycle = Lifecycle(writer, self._urls.app, self._urls.reader, self._settings.keys)
                enactment = Enactment(lifecycle, shelf, policies.load(policies.BASELINE))
                now = (await enactment.laws(self._tenant)).in_force
                if now is None or now.digest != bytes(self._policy.digest):
                    people = (self.ada.on_record, self.grace.on_record)
                    await enactment.apply(self._tenant, self._policy, Warrant("the demo's policy", *people))

    async def _in_service(self, act: Callable[[Approvals], Awaitable[T]]) -> T:
        """One act through the service over the log, beside the gateway that holds the answer."""
        laws = Lawbook(policies.load(policies.BASELINE))
        laws.replace({self._tenant: Standing(self._policy)})
        async with writing(self._settings, self._urls, self._tenant) as writer:
            with closing(Approvals(writer, self._urls, KeyStore(self._settings.keys), laws, self._served)) as approvals:
                return await act(approvals)

    async def _approve(self, approvals: Approvals, generation: UUID) -> Case:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (case := await approvals.find(self._tenant, generation)) is None:  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(POLL_SECONDS)
        choice = Approve(case.content_sha256, reason="read in the demo")
        decided = await approvals.decide(self._tenant, generation, choice, self.grace)
        if not isinstance(decided, Case):
            raise NotHeld(f"the demo's approval was refused: {decided.message}")
        return decided


def hold_one(client: openai.OpenAI, model: str, question: str, people: People, **more: Any) -> HeldOnce:
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
        decided = people.decide(generation)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in response.parse() if chunk.choices)
    case = people.look(generation)
    digest = hashlib.sha256(text.encode()).digest()
    if case is None or digest != decided.content_sha256:
        raise NotHeld("what came is not what was approved")
    return HeldOnce(generation, case.state.value, digest.hex(), people.grace.display_name, text)
