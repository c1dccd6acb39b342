"""What may be decided about users; each function makes a decision for `Administration.make`.

Nobody changes his own roles or groups, or disables or enables himself: that takes a second operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from msgspec.structs import replace
from sqlalchemy.orm import Session

from audit.header import uuid7
from gateway.administration import Decide, require_operator
from gateway.changes import UserAct, UserState
from gateway.people.lookup import find_user, get_user
from gateway.people.names import Role, check_display_name, check_user_name, groups_of, roles_of
from gateway.people.person import Account, Actor
from gateway.registry import RegistryError, require_tenant
from gateway.tables import User


def new_user(tenant: str, name: str, display_name: str, roles: Iterable[Role], groups: Iterable[str], password: str) -> Decide:
    """A user who does not exist yet; `password` is a hash."""
    check_user_name(name)
    check_display_name(display_name)
    kept = roles_of(roles), groups_of(groups)

    def decide(session: Session, by: Actor) -> UserState:
        require_tenant(session, tenant)
        require_operator(session, tenant, by)
        if find_user(session, tenant, name) is not None:
            raise RegistryError(f"user {name!r} of {tenant!r} exists already: names are never given twice")
        return UserState("made", uuid7(), tenant, name, display_name, *kept, enabled=True, password=password)

    return decide


def new_password(tenant: str, name: str, password: str) -> Decide:
    """Another password, by the user or by an operator; `password` is a hash."""

    def decide(session: Session, by: Actor) -> UserState:
        user = get_user(session, tenant, name)
        if isinstance(by, Account) or by.id != user.id:
            require_operator(session, tenant, by)
        elif user.password_set_at != by.password_set_at or user.disabled_at is not None:
            raise RegistryError(f"user {name!r} was changed meanwhile: begin again")
        return replace(_as_is("password", user), password=password)

    return decide


def other_roles(tenant: str, name: str, add: Iterable[Role], remove: Iterable[Role]) -> Decide:
    """More roles or fewer."""
    more, fewer = set(add), set(remove)

    def change(user: User) -> UserState | None:
        roles = roles_of(({Role(role) for role in user.roles} | more) - fewer)
        return None if list(roles) == user.roles else replace(_as_is("roles", user), roles=roles)

    return _about_another(tenant, name, change)


def other_groups(tenant: str, name: str, add: Iterable[str], remove: Iterable[str]) -> Decide:
    """More groups or fewer."""
    more, fewer = set(groups_of(add)), set(remove)

    def change(user: User) -> UserState | None:
        groups = groups_of((set(user.groups) | more) - fewer)
        return None if list(groups) == user.groups else replace(_as_is("groups", user), groups=groups)

    return _about_another(tenant, name, change)


def disabled(tenant: str, name: str) -> Decide:
    """Nobody proves to be this user any more; sessions and keys end at once."""

    def change(user: User) -> UserState | None:
        return replace(_as_is("disabled", user), enabled=False) if user.disabled_at is None else None

    return _about_another(tenant, name, change)


def enabled(tenant: str, name: str) -> Decide:
    """A disabled user again; keys that were not revoked open again, sessions do not."""

    def change(user: User) -> UserState | None:
        return None if user.disabled_at is None else replace(_as_is("enabled", user), enabled=True)

    return _about_another(tenant, name, change)


def signed_out(tenant: str, name: str) -> Decide:
    """Every session of a user ends; a password opens another."""

    def change(user: User) -> UserState | None:
        return _as_is("signed_out", user)

    return _about_another(tenant, name, change)


def _about_another(tenant: str, name: str, change: Callable[[User], UserState | None]) -> Decide:
    return lambda session, by: change(other_user(session, tenant, name, by))


def other_user(session: Session, tenant: str, name: str, by: Actor, instead: str = "it takes another operator") -> User:
    """The user, for an operator who is somebody else. Raises RegistryError, which says what to do instead."""
    require_operator(session, tenant, by)
    user = get_user(session, tenant, name)
    if not isinstance(by, Account) and by.id == user.id:
        raise RegistryError(f"{name!r} cannot do this to the same user: {instead}")
    return user


def _as_is(act: UserAct, user: User) -> UserState:
    """The user's state, to be changed in one point."""
    roles, groups = roles_of(map(Role, user.roles)), tuple(user.groups)
    return UserState(act, user.id, user.tenant, user.name, user.display_name, roles, groups, enabled=user.disabled_at is None)


def user_id(session: Session, tenant: str, name: str) -> UUID:
    """The id of an enabled user; raises RegistryError."""
    user = get_user(session, tenant, name)
    if user.disabled_at is not None:
        raise RegistryError(f"user {name!r} of {tenant!r} is disabled: enable it first")
    return user.id
