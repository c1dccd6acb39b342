"""What answers a request: a generation of its own, or the one that has the same question already.

A generation is stopped when its client leaves; one that another request began goes on for whoever asks next.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from litestar import Request
from sqlalchemy.exc import SQLAlchemyError

from audit.approvals import Attached
from audit.errors import AuditError
from audit.writer import Entry
from gateway.appending import append_when_room
from gateway.authenticate import Subject
from gateway.budgets.visit import Repeated, Visit
from gateway.dialects.request import ChatRequest, Conversation, Dialect, PlainPrompt, ToolSpec
from gateway.dialects.responses.decode import recorded
from gateway.errors import APPROVAL_HEADER, EngineDown, GatewayError, LogDown, Withheld
from gateway.generation import Generation
from gateway.house import House
from gateway.http import line
from gateway.http.identity import request_id
from gateway.pieces import Failed, Held, Made
from gateway.recall import Ending, Recalled
from gateway.release import told_again


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an answer before it is there: which generation makes it, under which model, mode and policy."""

    generation: UUID
    model: str
    mode: str
    policy: str
    prompt_tokens: int
    constrained: bool
    headers: dict[str, str]


class Source(ABC):
    """Where the answer to one request comes from; `request` is the id under which that stands on record."""

    request: UUID
    about: About

    async def begun(self) -> bool:
        """False once it is certain that there will be no answer, before anything of it was told."""
        return True

    def read_by(self, asked: Conversation | PlainPrompt) -> Conversation:
        """By what the answer to a prompt is read: which tools it may call, none of a plain one."""
        return asked if isinstance(asked, Conversation) else Conversation(())

    @abstractmethod
    def made(self) -> AsyncIterator[Made]:
        """What there is of the answer, as it comes. Once."""

    def leave(self) -> None:  # noqa: B027 - most sources go on without their client
        """The client is gone."""


class Own(Source):
    """A generation that this request began."""

    def __init__(self, generation: Generation) -> None:
        admitted, request = generation.admitted, generation.admitted.request
        self.generation, self.request = generation, generation.id
        self.about = About(
            generation=generation.id,
            model=admitted.model,
            mode=request.mode.value,
            policy=admitted.policy_digest.hex(),
            prompt_tokens=len(request.prompt),
            constrained=request.constraint is not None,
            headers=line.headers(
                generation.id, request.mode.value, admitted.policy_digest, admitted.first_seq, admitted.last_seq
            ),
        )

    async def begun(self) -> bool:
        return await self.generation.begun()

    def made(self) -> AsyncIterator[Made]:
        return self.generation.outlet.pieces()

    def leave(self) -> None:
        self.generation.leave()


class Earlier(Source):
    """A generation that another request began."""

    def __init__(self, house: House, tenant: str, request: UUID, found: Recalled, visit: Visit) -> None:
        account = found.account
        self._visit = visit
        self._house, self._tenant, self.request, self.found = house, tenant, request, found
        approval = {} if found.held is None else {APPROVAL_HEADER: str(account.generation)}
        said = line.headers(
            account.generation, account.mode, bytes.fromhex(account.policy_digest), account.first_seq, account.last_seq
        )
        self.about = About(
            generation=account.generation,
            model=found.opening.model,
            mode=account.mode,
            policy=account.policy_digest,
            prompt_tokens=account.prompt_tokens,
            constrained=bool(found.opening.constraint_kind),
            headers=said | approval,
        )

    async def is_stored_response(self) -> bool:
        """Whether it can be asked for again as a response, under its own id."""
        if self.found.opening.dialect != Dialect.RESPONSES:
            return False
        return (await line.read_aside(len(self.found.asked), lambda: recorded(self.found.asked))).stored

    def read_by(self, asked: Conversation | PlainPrompt) -> Conversation:
        """With the tools that it was judged with, so that no text becomes a call that nobody has judged."""
        read = super().read_by(asked)
        if self.found.tools is None:
            return read
        offered = {tool.name: tool for tool in read.tools}
        return replace(read, tools=tuple(offered.get(name, ToolSpec(name, "", {})) for name in self.found.tools))

    async def made(self) -> AsyncIterator[Made]:
        found = self.found if self.found.ending is not Ending.NONE else await self._ended()
        if isinstance(found, Failed):
            yield found
        elif found.held is not None:
            yield Held(self._tenant, self.about.generation, found.held)
        elif found.ending is Ending.ANSWERED:
            for piece in told_again(found):
                yield piece
        elif found.ending is Ending.WITHHELD:
            yield Failed(Withheld("the policy did not let this answer go; its records say why"))
        else:
            yield Failed(EngineDown("the generation that was asked this first ended early; try again"))

    async def _ended(self) -> Recalled | Failed:
        """The generation once it has come to its end, or why that cannot be told."""
        found: Recalled | Failed
        try:
            found = await self._house.attaching.ended(self._tenant, self.about.generation) or self.found
        except GatewayError as error:
            found = Failed(error)
        except (AuditError, SQLAlchemyError):
            found = Failed(LogDown("what becomes of this answer cannot be read now; try again later"))
        await self._visit.end()
        return found


async def source_of(
    request: Request[Any, Any, Any], house: House, subject: Subject, chat: ChatRequest, another: UUID | None = None
) -> Source:
    """What answers a permitted request; its opening records, or the one that says who answers it, are durable.

    `another`: not under the request's own id. Raises what admission raises.
    """
    own = another or request_id(request.scope)
    try:
        return Own(house.begin(await line.admitted(request, house, subject, chat, own)))
    except Repeated as repeated:
        return await _attached(house, subject, chat, own, repeated)


async def _attached(house: House, subject: Subject, chat: ChatRequest, own: UUID, repeated: Repeated) -> Source:
    generation = repeated.generation
    policy = bytes(house.laws.policy_for(subject.tenant, generation).digest)
    body = Attached(generation, chat.dialect.value)
    await append_when_room(house.writer, [Entry(subject.tenant, own, subject.caller, policy, body)])
    found = await house.recall.find(subject.tenant, generation)
    if found is None or found.ending is not Ending.NONE:
        await repeated.visit.end()
    if found is None:
        raise EngineDown("what answers this request cannot be read now; try again")
    return Earlier(house, subject.tenant, own, found, repeated.visit)
