"""Who asks the API: a signed-in person, by the cookie of a session, or a program, by an API key; and for which tenant.

A person belongs to one tenant and sees that one; people of `system` name another in `tenant=`. A key sees what it asked for
itself, and never a text. What is another tenant's is told from what does not exist by nothing.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from litestar import Request
from sqlalchemy.exc import SQLAlchemyError

from audit.writer import SYSTEM
from gateway.authenticate import Subject, authenticate, key_of
from gateway.errors import GatewayError, NotHere, Unauthenticated, Unavailable
from gateway.house import House
from gateway.people.again import by_passkey, by_password
from gateway.people.ceremonies import PasskeySignature, place_of
from gateway.people.names import Role
from gateway.people.person import Asserted, Person
from gateway.people.proving import NotProved
from gateway.ui import forgery
from gateway.ui.cookies import Jar, Name

P = TypeVar("P", Person, Asserted)
READS_FIGURES: Final = (Role.APPROVER, Role.AUDITOR, Role.OPERATOR, Role.POLICY_ADMIN)
_NOBODY: Final = "sign in at /sign-in, or send an API key as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"


class Forbidden(GatewayError):
    """Whoever asks is known and may not do this."""

    status = 403
    kind = "permission_error"
    default_code = "not_permitted"


class WrongPassword(GatewayError):
    """The password or the passkey that goes with an act is not this person's."""

    status = 401
    kind = "permission_error"
    default_code = "wrong_password"

    def headers(self) -> dict[str, str]:
        return {"www-authenticate": "Bearer"}


class TooManyAttempts(GatewayError):
    """A name rests after too many wrong passwords."""

    status = 429
    kind = "rate_limit_error"
    default_code = "too_many_attempts"

    def __init__(self, message: str, wait: int) -> None:
        super().__init__(message)
        self._wait = wait

    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self._wait)}


@dataclass(frozen=True, slots=True)
class Visit:
    """Who asks, and whose log is asked about."""

    house: House
    who: Person | Subject
    tenant: str

    @property
    def caller(self) -> str | None:
        """Whose requests alone may be seen: a key's own; None for a person, who sees all of the tenant."""
        return self.who.caller if isinstance(self.who, Subject) else None

    def person(self, *roles: Role) -> Person:
        """The person, who has one of these roles. Raises Forbidden for anybody else, and for a key."""
        if isinstance(self.who, Subject):
            raise Forbidden("this is for people: sign in, an API key does not do")
        if self.who.roles.isdisjoint(roles):
            raise Forbidden(f"this takes the role {' or '.join(role.value for role in roles)}")
        return self.who

    def reader(self, *roles: Role) -> None:
        """Raise Forbidden for a person with none of these roles; a key may read, of its own requests."""
        if isinstance(self.who, Person):
            self.person(*roles)

    async def proved(self, password: str) -> Person:
        """The same person, who has proved it just now. Raises Forbidden, WrongPassword, TooManyAttempts or Unavailable."""
        if isinstance(self.who, Subject):
            raise Forbidden("this takes a person's password: sign in, an API key does not do")
        return await _proof(by_password(self.house.directory.prover, self.who, password), "the password is wrong")

    async def asserted(self, passkey: PasskeySignature, challenge: bytes) -> Asserted:
        """The same person, whose passkey has just signed this challenge. Raises what `proved` does."""
        if isinstance(self.who, Subject):
            raise Forbidden("this takes a person's passkey: sign in, an API key does not do")
        place = place_of(self.house.settings)
        proof = by_passkey(self.house.passkeys, place, self.who, passkey, challenge)
        return await _proof(proof, "the passkey is not this person's, or it did not sign the binding")


async def _proof(proof: Awaitable[P | NotProved], wrong: str) -> P:
    """What was proved. Raises WrongPassword, TooManyAttempts or Unavailable."""
    try:
        found = await proof
    except SQLAlchemyError as error:
        raise Unavailable("nobody can prove anything now; try again later", code="database_unavailable") from error
    if not isinstance(found, NotProved):
        return found
    if found.wait:
        raise TooManyAttempts(f"too many wrong attempts: wait {found.wait} s", found.wait)
    raise WrongPassword(wrong)


async def visit(request: Request[Any, Any, Any], house: House) -> Visit:
    """Who asks. Raises Unauthenticated, Forbidden for a request that another site may have made up, NotHere or Unavailable."""
    tenant = request.query_params.get("tenant")
    if key_of(request.headers) is not None:
        subject = await authenticate(house.keyring, request.headers)
        return Visit(house, subject, await _in_view(house, tenant, subject.tenant, every=False))
    token = _token(request, house)
    person = None if token is None else await _person(house, token)
    if token is None or person is None:
        house.keyring.refused.add("session")
        raise Unauthenticated(_NOBODY)
    if request.method not in forgery.SAFE and not _is_own(request, token):
        raise Forbidden(f"a change takes the header {forgery.HEADER} with the token of this session", code="form_not_genuine")
    return Visit(house, person, await _in_view(house, tenant, person.tenant, every=person.tenant == SYSTEM))


async def still_in(request: Request[Any, Any, Any], house: House, roles: tuple[Role, ...]) -> bool:
    """Whether the session of a request still holds, of a person with one of these roles; it is no sign of life."""
    token = _token(request, house)
    try:
        person = None if token is None else await asyncio.to_thread(house.directory.sessions.peek, token)
    except SQLAlchemyError:
        return False
    return person is not None and not person.roles.isdisjoint(roles)


def _token(request: Request[Any, Any, Any], house: House) -> str | None:
    return Jar(house.settings.base_url.startswith("https://")).read(request, Name.SESSION)


async def _person(house: House, token: str) -> Person | None:
    try:
        return await asyncio.to_thread(house.directory.sessions.find, token)
    except SQLAlchemyError as error:
        raise Unavailable("sessions cannot be looked up now; try again later", code="database_unavailable") from error


async def _tenants(house: House) -> Collection[str]:
    try:
        return await asyncio.to_thread(house.registry.tenants)
    except SQLAlchemyError as error:
        raise Unavailable("tenants cannot be looked up now; try again later", code="database_unavailable") from error


def _is_own(request: Request[Any, Any, Any], token: str) -> bool:
    given = request.headers.get(forgery.HEADER, "")
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), forgery.token(token).encode())


async def _in_view(house: House, wanted: str | None, own: str, *, every: bool) -> str:
    if wanted is None or wanted == own:
        return own
    if every and wanted in await _tenants(house):
        return wanted
    raise NotHere("there is no such thing here that you may see")
