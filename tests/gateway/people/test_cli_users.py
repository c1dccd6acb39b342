"""`palimpsest users`, `keys` and `tenants` with people: passwords come by standard input, and nobody acts unproved."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.acts import KeyChange, KeyTerms, TenantMade, UserChange
from gateway.account import account
from gateway.cli.identity import Typed
from gateway.people import passwords
from gateway.people.names import Role
from gateway.registry import Registry, RegistryError
from gateway.settings import DatabaseUrl, Settings
from tests.gateway.commanding import Done, command_line
from tests.gateway.people.office import acts_of
from tests.gateway.planted import AFFORDABLE, PASSWORD, plant_tenant, plant_user
from tests.postgres_fixtures import Database

OTHER = "another battery staple"


Command = Callable[..., Done]


@pytest.fixture
def palimpsest(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Runs the words of a command line; `typed` are the lines of standard input, and without any there is no terminal."""
    command = command_line(monkeypatch, capsys, tmp_path / "home", database)
    monkeypatch.setattr(passwords.Passwords.__init__, "__defaults__", (AFFORDABLE,))

    def run(words: str, *typed: str) -> Done:
        stdin = ["--password-stdin"] if typed else []
        return command(*words.split(), *stdin, typed="".join(f"{line}\n" for line in typed))

    return run


@pytest.fixture
def acme(palimpsest: Command, database: Database) -> Command:
    """The command, where acme has the operator ada and the caller carl."""
    plant_tenant(database.app_url, "acme")
    plant_user(database.app_url, "acme", "ada", Role.OPERATOR)
    plant_user(database.app_url, "acme", "carl", Role.CALLER, groups=("leads",), password=OTHER)
    return palimpsest


def settings() -> Settings:
    """Those of the command."""
    return Settings.read(os.environ)


def test_the_first_people_need_the_account_alone(palimpsest: Command, database: Database) -> None:
    """The first user is made by the operating system's account, and the record says so; the next by an operator."""
    assert palimpsest("tenants create acme") == Done(0, "acme\n", "")
    assert palimpsest("users create ada --tenant acme --role operator --display-name Ada", PASSWORD) == Done(0, "ada\n", "")
    made = "users create carl --tenant acme --role caller --group leads --by ada"
    assert palimpsest(made, PASSWORD, OTHER) == Done(0, "carl\n", "")
    ada, carl = (act for act in acts_of(database, settings(), "acme") if isinstance(act, UserChange))
    assert (ada.name, ada.requested_by, carl.name, carl.requested_by) == ("ada", account(), "carl", "ada")
    assert acts_of(database, settings(), "system") == [TenantMade("acme", account())]
    refused = palimpsest("users create eve --tenant acme", OTHER)
    assert (refused.status, refused.out) == (1, "") and "'acme' has operators: name one of them with --by" in refused.err


def test_users_are_listed_and_shown(acme: Command) -> None:
    """Lists have a line for each user, without anything of a password; one user is shown with keys and times."""
    acme("users create zoe --tenant system --role operator", PASSWORD)
    rows = acme("users list").out.splitlines()
    (ada,) = (line for line in rows if line.strip("│ ").startswith("ada"))
    assert "Ada" in ada and "operator" in ada and any("zoe" in line and "system" in line for line in rows)
    assert "zoe" not in acme("users list --tenant acme").out
    acme("keys create --tenant acme --user carl --label laptop --by ada", PASSWORD)
    shown = acme("users show carl --tenant acme").out
    assert shown.startswith("carl of acme: Carl, enabled\nroles: caller\ngroups: leads\nmade: ") and "laptop" in shown
    assert "argon2" not in shown + "".join(rows)


def test_roles_groups_and_state_are_changed(acme: Command) -> None:
    """Each command says how the user stands then, or that nothing was to be changed."""
    done = acme("users roles carl --tenant acme --add approver --remove caller --by ada", PASSWORD)
    assert done == Done(0, "carl is enabled, roles: approver, groups: leads\n", "")
    assert acme("users groups carl --tenant acme --add night --by ada", PASSWORD).out.endswith("groups: leads, night\n")
    assert acme("users disable carl --tenant acme --by ada", PASSWORD).out.startswith("carl is disabled, ")
    assert "disabled since" in acme("users show carl --tenant acme").out
    again = acme("users disable carl --tenant acme --by ada", PASSWORD)
    assert again.out.startswith("nothing to change: carl is disabled")
    assert acme("users enable carl --tenant acme --by ada", PASSWORD).out.startswith("carl is enabled, ")


def test_a_password_is_changed_by_its_user_or_an_operator(acme: Command) -> None:
    """The user gives the old one first; an operator his own; the old one is then nobody's."""
    assert acme("users password carl --tenant acme", OTHER, "a third one, longer").out == "the password of carl is set\n"
    assert "'carl' is not proved" in acme("users password carl --tenant acme", OTHER, PASSWORD).err
    assert acme("users password carl --tenant acme --by ada", PASSWORD, "a fourth one, longer").status == 0
    assert acme("users password carl --tenant acme", "a fourth one, longer", "a fifth one, longer").status == 0
    assert "'nobody' is not proved" in acme("users password nobody --tenant acme", PASSWORD, PASSWORD).err


def test_a_users_key_is_made_rotated_and_revoked(acme: Command, database: Database) -> None:
    """A rotated key keeps id, user and end; the old secret opens nothing; each act is on record with its terms."""
    made = acme("keys create --tenant acme --user carl --expires 90 --by ada", PASSWORD)
    registry = Registry(DatabaseUrl(database.app_url))
    subject = registry.find(made.out.strip())
    assert subject is not None and (subject.user, subject.groups) == ("carl", ("leads",))
    rotated = acme(f"keys rotate {subject.caller} --by ada", PASSWORD)
    assert registry.find(made.out.strip()) is None and registry.find(rotated.out.strip()) == subject
    assert "carl" in next(line for line in acme("keys list").out.splitlines() if subject.caller in line)
    assert acme(f"keys revoke {subject.caller} --by ada", PASSWORD).out == f"revoked {subject.caller}\n"
    assert registry.find(rotated.out.strip()) is None
    registry.close()
    acts = acts_of(database, settings(), "acme")
    assert [type(act) for act in acts] == [KeyChange, KeyTerms, KeyChange, KeyTerms, KeyChange]
    terms = [act for act in acts if isinstance(act, KeyTerms)]
    assert terms[0] == terms[1] and terms[0].user == "carl" and terms[0].expires is not None


@pytest.mark.parametrize(
    ("words", "typed", "why"),
    [
        ("users create Eve --tenant acme --by ada", (PASSWORD, OTHER), "1 to 63 of a-z 0-9"),
        ("users create ada --tenant acme --by ada", (PASSWORD, OTHER), "names are never given twice"),
        ("users create eve --tenant acme --by ada", (PASSWORD, "short"), "12 to 256 characters"),
        ("users create eve-the-first --tenant acme --by ada", (PASSWORD, "Eve-The-First"), "not the user's name"),
        ("users create eve --tenant acme --by ada", (PASSWORD,), "standard input ended before a line for: New password of eve"),
        ("users create eve --tenant acme --by ada", (OTHER, OTHER), "'ada' is not proved"),
        ("users create eve --tenant acme --by carl", (OTHER, OTHER), "takes the role operator"),
        ("users create eve --tenant acme --by nobody", (OTHER, OTHER), "'nobody' is not proved"),
        ("users create eve --tenant acme --by system/ada", (PASSWORD, OTHER), "'system/ada' is not proved"),
        ("users create eve --tenant acme --by ada", (), "no terminal to ask at (Password of ada): give --password-stdin"),
        ("users create eve --tenant nowhere", (OTHER,), "no tenant 'nowhere'"),
        ("users create eve --tenant \udcff", (OTHER,), "no tenant"),
        ("users create eve --tenant acme --group \udcff --by ada", (PASSWORD, OTHER), "a group's name is one line"),
        ("users roles carl --tenant acme", (), "give --add or --remove"),
        ("users roles ada --tenant acme --add auditor --by ada", (PASSWORD,), "takes another operator"),
        ("users groups nobody --tenant acme --add x --by ada", (PASSWORD,), "see `palimpsest users list`"),
        ("users disable carl --tenant acme", (), "'acme' has operators"),
        ("users show nobody --tenant acme", (), "see `palimpsest users list`"),
        ("users show \udcff --tenant acme", (), "1 to 63 of a-z 0-9"),
        ("users list --tenant \udcff", (), "there is no tenant"),
        ("keys create --tenant acme", (), "'acme' has operators"),
        ("keys create --tenant acme --user nobody --by ada", (PASSWORD,), "no user 'nobody'"),
        ("keys create --tenant system", (), "has no keys"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    acme: Command, database: Database, words: str, typed: tuple[str, ...], why: str
) -> None:
    """What cannot be done ends with 1, says why in one line without any password, and leaves no record."""
    done = acme(words, *typed)
    assert (done.status, done.out) == (1, "") and done.err.count("\n") == 1 and why in done.err
    assert not any(line in done.err for line in (PASSWORD, OTHER)) and acts_of(database, settings(), "acme") == []


def test_no_command_takes_a_password_as_a_word(acme: Command) -> None:
    """There is no option for a password itself: other processes could read it."""
    for words in ("users create eve --tenant acme --password x", "keys create --tenant acme --password x"):
        done = acme(words)
        assert done.status == 2 and "No such option" in done.err


def typed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Where the passwords of a command come from that was given these bytes."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    return Typed(from_stdin=True)


def test_each_line_is_one_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come in order, with the spaces in and around them; the end of the last may be missing."""
    lines = typed(b" one \r\ntwo\n\nthree", monkeypatch)
    assert [lines.ask("?"), lines.ask_new("?"), lines.ask("?"), lines.ask("?")] == [" one ", "two", "", "three"]


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "ended"), (b"\xff\n", "not text in UTF-8"), (b"x" * 4096 + b"\nsecond\n", "too long")]
)
def test_what_is_no_line_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes, why: str) -> None:
    """No input, bytes that are no text, and a line without end are errors that say for what the line was."""
    with pytest.raises(RegistryError, match=f"{why}.*Password of ada"):
        typed(data, monkeypatch).ask("Password of ada")


def test_a_person_types_unseen_and_a_new_password_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a terminal answers are read without echo, a slip asks anew, and standard output stays empty."""
    answers, asked = iter([PASSWORD, OTHER, PASSWORD, OTHER, OTHER]), list[str]()

    def unseen(question: str) -> str:
        asked.append(question.strip(": "))
        return next(answers)

    monkeypatch.setattr("click.termui.hidden_prompt_func", unseen)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert Typed(from_stdin=False).ask("Password of ada") == PASSWORD
    assert Typed(from_stdin=False).ask_new("New password of carl") == OTHER
    shown, twice = capsys.readouterr(), ["New password of carl", "The same again"]
    assert asked == ["Password of ada", *twice, *twice]
    assert shown.out == "" and PASSWORD not in shown.err and OTHER not in shown.err
