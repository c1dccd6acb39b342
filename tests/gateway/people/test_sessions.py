"""Sessions: a token nobody can guess, that ends by itself, by signing out, and with what it was founded on."""

from __future__ import annotations

import hashlib

import pytest

from gateway.people import users
from gateway.people.names import Role
from tests.gateway.people.office import Office
from tests.gateway.planted import CHEAP, plant_user


@pytest.fixture
def token(office: Office) -> str:
    """A session of ada, who has just proved herself."""
    plant_user(office.database.app_url, "acme", "ada", Role.APPROVER, groups=("leads",))
    began = office.directory.sessions.begin(office.prove("ada"))
    assert began is not None
    return began


def test_a_session_remembers_the_person(office: Office, token: str) -> None:
    """The token finds the same person again; its hash, another case and a part of it find nobody."""
    sessions = office.directory.sessions
    assert sessions.find(token) == office.prove("ada")
    others = (hashlib.sha256(token.encode()).hexdigest(), token.swapcase(), token[:-1], f"{token} ", "", "\udcff", "a\0b")
    assert [sessions.find(text) for text in others] == [None] * 7
    assert len(token) == 43, "256 random bits"


def test_a_token_is_stored_as_its_hash(office: Office, token: str) -> None:
    """Whoever reads the table cannot become anybody."""
    (row,) = office.sql("SELECT encode(token_sha256, 'hex'), s::text FROM app.sign_in s")
    assert row[0] == hashlib.sha256(token.encode()).hexdigest() and token not in str(row[1])


@pytest.mark.parametrize(
    ("later", "alive"),
    [
        ("seen_at = seen_at - interval '29 minutes'", True),
        ("seen_at = seen_at - interval '30 minutes'", False),
        ("made_at = made_at - interval '11 hours 59 minutes'", True),
        ("made_at = made_at - interval '12 hours'", False),
    ],
)
def test_a_session_ends_by_itself(office: Office, token: str, later: str, alive: bool) -> None:
    """30 idle minutes or 12 hours in all end a session."""
    office.sql(f"UPDATE app.sign_in SET {later}")
    assert (office.directory.sessions.find(token) is not None) is alive


def test_being_used_keeps_a_session_awake(office: Office, token: str) -> None:
    """Each use begins the idle time anew, and moves the absolute end not at all."""
    for _ in range(3):
        office.sql("UPDATE app.sign_in SET seen_at = seen_at - interval '20 minutes', made_at = made_at - interval '5 hours'")
        found = office.directory.sessions.find(token)
    assert found is None and office.sql("SELECT count(*) FROM app.sign_in") == [(1,)]


def test_signing_in_makes_another_token(office: Office, token: str) -> None:
    """The token that came along ends, whoever had it, so that a prepared one never becomes a session; expired ones go."""
    sessions, ada = office.directory.sessions, office.prove("ada")
    renewed = sessions.begin(ada, instead_of=token)
    assert renewed is not None and renewed != token
    assert sessions.find(token) is None and sessions.find(renewed) == ada
    assert sessions.begin(ada, instead_of="prepared by somebody else") not in (None, "prepared by somebody else")
    office.sql("UPDATE app.sign_in SET seen_at = seen_at - interval '1 day'")
    sessions.begin(ada)
    assert office.sql("SELECT count(*) FROM app.sign_in") == [(1,)]


def test_signing_out_ends_one_session(office: Office, token: str) -> None:
    """The session that signs out is gone, others of the same person stay, and doing it twice is no mistake."""
    sessions = office.directory.sessions
    other = sessions.begin(office.prove("ada"))
    assert other is not None
    sessions.end(token)
    sessions.end(token)
    assert sessions.find(token) is None and sessions.find(other) is not None


async def test_a_session_of_a_disabled_user_is_dead_at_once(office: Office, token: str) -> None:
    """Disabling ends every session, and enabling brings none back; a proof of before begins none."""
    sessions, ada = office.directory.sessions, office.prove("ada")
    await office.make(users.disabled("acme", "ada"))
    assert sessions.find(token) is None and sessions.begin(ada) is None
    await office.make(users.enabled("acme", "ada"))
    assert sessions.find(token) is None and sessions.begin(office.prove("ada")) is not None


def test_a_session_is_dead_even_if_its_row_stayed(office: Office, token: str) -> None:
    """A user who is disabled in the table has no session, whatever else the tables hold."""
    office.sql("UPDATE app.user_account SET disabled_at = now()")
    assert office.sql("SELECT count(*) FROM app.sign_in") == [(1,)] and office.directory.sessions.find(token) is None


async def test_another_password_ends_all_sessions(office: Office, token: str) -> None:
    """Sessions end with the password they came from, and a proof by the old password begins none."""
    sessions, ada = office.directory.sessions, office.prove("ada")
    await office.make(users.new_password("acme", "ada", CHEAP.hash(b"another battery staple")), ada)
    assert sessions.find(token) is None and sessions.begin(ada) is None
    assert sessions.begin(office.prove("ada", "another battery staple")) is not None


async def test_roles_of_a_session_are_those_of_the_moment(office: Office, token: str) -> None:
    """What a person may do is read anew at each request: a role that was taken is gone at once."""
    await office.make(users.other_roles("acme", "ada", add=[Role.CALLER], remove=[Role.APPROVER]))
    await office.make(users.other_groups("acme", "ada", add=["night"], remove=["leads"]))
    found = office.directory.sessions.find(token)
    assert found is not None and (found.roles, found.groups) == (frozenset({Role.CALLER}), ("night",))
