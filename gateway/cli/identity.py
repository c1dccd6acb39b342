"""Who acts at the command line: passwords from a terminal or standard input, and changes in the name of whoever proved it."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import rich_click as click

from gateway.people.names import Role
from gateway.registry import Registry, RegistryError

if TYPE_CHECKING:
    from audit.lifecycle import Lifecycle, Warrant
    from audit.standing import Standing
    from gateway.administration import Decide
    from gateway.changes import Change
    from gateway.database import Urls
    from gateway.people.directory import Directory
    from gateway.people.person import Actor, Person
    from gateway.people.two import Asked
    from gateway.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
_MOST_LINE: Final = 4096

by_option = click.option(
    "--by", metavar="USER", help="The operator who does it; [bold]system/NAME[/] for one of tenant system. Needed from the "
    "tenant's first operator on.",
)  # fmt: skip
stdin_option = click.option(
    "--password-stdin", is_flag=True, help="Read passwords from standard input, one a line, in the order of the questions."
)


def proved_option(role: Role) -> Callable[[F], F]:
    """`--by` of an act that an account may do as well: only a proof puts the name of a person on record."""
    article = "an" if role.value[0] in "aeo" else "a"
    return click.option(
        "--by",
        metavar="USER",
        help=f"Who does it: {article} {role.value}, who gives a password; [bold]system/NAME[/] for one of tenant system. "
        "Without it, the account that runs this is on record.",
    )


def reason_option(about: str = "Why; it is recorded.") -> Callable[[F], F]:
    """`--reason`, which nobody may leave out or leave empty."""
    return click.option("--reason", required=True, callback=_said, help=about)


def _said(_context: click.Context, parameter: click.Parameter, text: str) -> str:
    if not text.strip():
        raise click.BadParameter("say why: it is recorded", param=parameter)
    return text.strip()


@dataclass(frozen=True, slots=True)
class Typed:
    """Where passwords come from; never from the command line, where other processes could read them."""

    from_stdin: bool

    def ask(self, question: str) -> str:
        """One password."""
        if self.from_stdin:
            return self._line(question)
        self._require_terminal(question)
        answer: str = click.prompt(question, hide_input=True, err=True)
        return answer

    def ask_new(self, question: str) -> str:
        """A password to be set; a person types it twice."""
        if self.from_stdin:
            return self._line(question)
        self._require_terminal(question)
        answer: str = click.prompt(question, hide_input=True, confirmation_prompt="The same again", err=True)
        return answer

    @staticmethod
    def _line(question: str) -> str:
        try:
            line = sys.stdin.readline(_MOST_LINE)
        except UnicodeDecodeError as error:
            raise RegistryError(f"standard input is not text in UTF-8 ({question})") from error
        if not line:
            raise RegistryError(f"standard input ended before a line for: {question}")
        if len(line) == _MOST_LINE:  # the rest of it would be taken for the next password
            raise RegistryError(f"a line of standard input is too long for a password ({question})")
        return line.rstrip("\r\n")

    @staticmethod
    def _require_terminal(question: str) -> None:
        if not sys.stdin.isatty():
            raise RegistryError(f"no terminal to ask at ({question}): give --password-stdin")


@dataclass(frozen=True, slots=True)
class Office:
    """What a command needs to look things up and to change them, beside a gateway that may be running."""

    settings: Settings
    urls: Urls
    registry: Registry
    directory: Directory

    def require_tenant(self, tenant: str) -> None:
        """Raise RegistryError unless the tenant exists or is `system`: a slip of the pen makes no log."""
        from audit.writer import SYSTEM

        if tenant != SYSTEM and tenant not in self.registry.tenants():
            raise RegistryError(f"there is no tenant {tenant!r}: make it with `palimpsest tenants create`")

    def actor(self, tenant: str, by: str | None, typed: Typed, role: Role = Role.OPERATOR) -> Actor:
        """The user named, who has the role and proves it by a password; if nobody is, the account that runs this."""
        from gateway.people.person import Account

        return Account.mine() if by is None else self.person(tenant, by, frozenset({role}), typed)

    def person(self, tenant: str, who: str, roles: frozenset[Role], typed: Typed) -> Person:
        """The user named, who has one of the roles and proves it by a password. Raises RegistryError."""
        from gateway.people.two import Asked, prove_one

        return prove_one(self.directory.prover, typed.ask, Asked(who, roles), tenant)

    def warrant(self, tenant: str, reason: str, two: tuple[Asked, Asked], typed: Typed) -> Warrant:
        """Why, and the two who proved by their passwords who they are and have the roles for it: who asks, and who agrees."""
        from audit.lifecycle import Warrant
        from gateway.people.two import prove_two

        proved = prove_two(self.directory.prover, typed.ask, *two, tenant)
        return Warrant(reason, proved.requested_by.on_record, proved.approved_by.on_record)

    @asynccontextmanager
    async def lifecycle(self, tenant: str) -> AsyncIterator[Lifecycle]:
        """What acts on the logs of this installation, beside a gateway that may be running."""
        from audit.lifecycle import Lifecycle
        from gateway.on_record import writing

        async with writing(self.settings, self.urls, tenant) as writer:
            yield Lifecycle(writer, self.urls.app, self.urls.reader, self.settings.keys)

    def standing(self, tenant: str) -> Standing:
        """What the tenant's log says of holds, rules and policies."""
        from audit.keys import KeyStore
        from audit.lifecycle import read_standing

        return read_standing(self.urls.reader, tenant, KeyStore(self.settings.keys))

    def new_password(self, name: str, typed: Typed) -> str:
        """The hash of a password that is asked for. Raises RegistryError for one that breaks a rule."""
        from gateway.people.passwords import check_new

        return self.directory.passwords.hash(check_new(typed.ask_new(f"New password of {name}"), name))

    def change(self, tenant: str, actor: Actor, decide: Decide) -> Change | None:
        """Make a change that is on record in the log of the tenant; None if there was nothing to change."""
        from gateway.administration import make_change

        return make_change(self.settings, self.urls, tenant, actor, decide)


@contextmanager
def office() -> Iterator[Office]:
    """The office over the database of the settings."""
    from gateway.database import open_database
    from gateway.people.directory import Directory
    from gateway.settings import Settings

    settings = Settings.read(os.environ)
    with ExitStack() as stack:
        urls = stack.enter_context(open_database(settings, lambda line: click.echo(line, err=True)))
        registry = stack.enter_context(closing(Registry(urls.app)))
        yield Office(settings, urls, registry, stack.enter_context(closing(Directory(urls.app))))
