"""A name and a password: the right ones make a person, all others cost and say the same, and not too often."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from gateway.people import users
from gateway.people.names import Role, is_user_name
from gateway.people.passwords import Passwords
from gateway.people.person import Person, proved
from gateway.people.proving import NotProved, Prover
from gateway.people.throttle import FREE, LONGEST, Door, Throttle, pause
from gateway.settings import DatabaseUrl, sqlalchemy_url
from tests.gateway.people.office import Office
from tests.gateway.planted import AFFORDABLE, CHEAP, PASSWORD, plant_user

ROOT = Path(__file__).parents[3]
WRONG = "wrong horse battery"


class Counting(Passwords):
    """Hashes cheaply, and counts how often and against what cost."""

    def __init__(self) -> None:
        super().__init__(AFFORDABLE)
        self.work: list[str] = []

    def _verify(self, stored: str, data: bytes) -> bool:
        self.work.append(stored.rsplit("$", 2)[0])
        return super()._verify(stored, data)


def prover(office: Office, passwords: Passwords = CHEAP) -> Prover:
    """Another process's, as far as the database can tell."""
    url = sqlalchemy_url(DatabaseUrl(office.database.app_url))
    return Prover(create_engine(url, poolclass=NullPool), passwords)


def test_the_right_password_makes_a_person(office: Office) -> None:
    """The person has the user's tenant, name, roles and groups; a composed and a decomposed accent are one."""
    plant_user(office.database.app_url, "acme", "ada", Role.OPERATOR, groups=("leads",), password="señor del castillo")
    person = office.prove("ada", "sen\u0303or del castillo")
    assert (person.tenant, person.name, person.roles, person.groups) == ("acme", "ada", frozenset({Role.OPERATOR}), ("leads",))
    assert person.on_record == "ada" and person.serves("acme") and not person.serves("other")


def test_nobody_is_a_person_by_being_named(office: Office) -> None:
    """A Person is made by a proof only: not by its constructor, and not from another person."""
    plant_user(office.database.app_url, "acme", "ada")
    ada = office.prove("ada")
    values = {field.name: getattr(ada, field.name) for field in dataclasses.fields(ada)}
    with pytest.raises(TypeError, match="from a password or a session"):
        Person(**values, seal=object())
    with pytest.raises((TypeError, ValueError), match="seal"):
        dataclasses.replace(ada, roles=frozenset(Role))  # type: ignore[call-arg]


def test_only_proofs_make_persons() -> None:
    """`proved` is used where a password and where a session is checked, and nowhere else in the house."""
    calls = re.compile(rf"import [^\n]*\b{proved.__name__}\b|^def {proved.__name__}\(user", re.MULTILINE)
    files = [path for path in (ROOT / "gateway").rglob("*.py") if calls.search(path.read_text(encoding="utf-8"))]
    assert {path.name for path in files} == {"person.py", "proving.py", "sessions.py"}


async def test_all_failures_are_alike_and_cost_the_same(office: Office) -> None:
    """Unknown, impossible and disabled names, wrong and impossible passwords: one hash of one cost, and one answer."""
    for name in ("ada", "gone"):
        plant_user(office.database.app_url, "acme", name)
    await office.make(users.disabled("acme", "gone"))
    counting = Counting()
    judge = prover(office, counting)
    assert isinstance(judge.prove("acme", "ada", PASSWORD), Person)
    tries = [
        ("acme", "ada", WRONG), ("acme", "ada", "short"), ("acme", "ada", "\ud800" * 20), ("acme", "gone", PASSWORD),
        ("acme", "gone", WRONG), ("acme", "nobody", WRONG), ("acme", "No Body", WRONG), ("nowhere", "ada", WRONG),
        ("No Where", "ada", WRONG), ("acme", "a\0b", WRONG), ("acme\udcff", "ada\udcff", WRONG), ("acme", "a" * 100_000, WRONG),
    ]  # fmt: skip
    answers = {judge.prove(*each) for each in tries}
    assert answers == {NotProved()} and len(counting.work) == len(tries) + 1 and len(set(counting.work)) == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.text(max_size=70), st.text(max_size=70), st.text(max_size=300))
def test_no_name_is_too_strange(office: Office, tenant: str, name: str, password: str) -> None:
    """Any texts at all as tenant, name and password are answered with a refusal, never with an error."""
    assert isinstance(office.directory.prover.prove(tenant, name, password), NotProved)


@given(st.text(max_size=70))
def test_a_name_can_be_told_from_other_actors(name: str) -> None:
    """What may be a user's name has no space and no slash, so records never mistake who it was."""
    if is_user_name(name):
        assert name == name.lower().strip() and name.isascii() and not set(name) & set(" /\n") and len(name) <= 63


def rests(office: Office) -> object:
    """How long the one name that was tried rests; from now on it is an hour, which no slow machine outlasts."""
    ((found,),) = office.sql("SELECT blocked_until - last_at FROM app.attempt")
    office.sql("UPDATE app.attempt SET blocked_until = now() + interval '1 hour'")
    return found


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_a_name_rests_after_failures(office: Office, name: str) -> None:
    """After three in vain a name rests, whether or not anybody has it, and the right password does not help meanwhile."""
    plant_user(office.database.app_url, "acme", "ada")
    judge = office.directory.prover
    assert [judge.prove("acme", name, WRONG) for _ in range(FREE)] == [NotProved()] * FREE
    assert rests(office) == pause(FREE)
    refused = judge.prove("acme", name, PASSWORD)
    assert isinstance(refused, NotProved) and 3000 < refused.wait <= 3600 and f"wait {refused.wait} s" in str(refused)
    again = prover(office).prove("acme", name, PASSWORD)
    assert isinstance(again, NotProved) and 3000 < again.wait <= refused.wait, "another process counts the same"
    plant_user(office.database.app_url, "acme", "other")
    assert office.prove("other").name == "other", "other names do not wait"


def test_strangers_keep_nobody_from_signing(office: Office) -> None:
    """Wrong passwords at the sign-in page and inside a session rest a name apart: who is signed in proves it all the same."""
    plant_user(office.database.app_url, "acme", "ada")
    judge = office.directory.prover
    for _ in range(FREE):
        judge.prove("acme", "ada", WRONG)
    assert judge.prove("acme", "ada", PASSWORD) == NotProved(wait=1)
    assert isinstance(judge.prove("acme", "ada", PASSWORD, Door.INSIDE), Person)
    assert [judge.prove("acme", "ada", WRONG, Door.INSIDE) for _ in range(FREE)] == [NotProved()] * FREE
    assert judge.prove("acme", "ada", PASSWORD, Door.INSIDE) == NotProved(wait=1)


def test_the_pause_doubles_and_ends(office: Office) -> None:
    """Each further failure doubles the pause up to a quarter of an hour; the right password afterwards forgets all of it."""
    assert [pause(n).total_seconds() for n in range(7)] == [0, 0, 0, 1, 2, 4, 8]
    assert pause(20) == pause(10_000) == LONGEST == timedelta(minutes=15)
    plant_user(office.database.app_url, "acme", "ada")
    for _ in range(FREE + 2):
        office.directory.prover.prove("acme", "ada", WRONG)
        office.sql("UPDATE app.attempt SET blocked_until = now()")
    assert office.sql("SELECT failures FROM app.attempt") == [(FREE + 2,)]
    office.prove("ada")
    assert office.sql("SELECT * FROM app.attempt") == []


def test_a_crowd_is_counted_one_by_one(office: Office) -> None:
    """Of many attempts at the same moment no more are looked at than one after another would be."""
    crowd, counting = 12, Counting()
    judges, ready = [prover(office, counting) for _ in range(crowd)], Barrier(12)

    def attempt(judge: Prover) -> object:
        ready.wait(10)
        return judge.prove("acme", "ada", WRONG)

    with ThreadPoolExecutor(crowd) as threads:
        answers = list(threads.map(attempt, judges))
    assert answers.count(NotProved()) == len(counting.work) == FREE
    assert all(isinstance(answer, NotProved) for answer in answers)


def test_old_attempts_are_forgotten(office: Office) -> None:
    """A name left alone for a day starts anew, and made-up names do not fill the table for ever."""
    judge = office.directory.prover
    for number in range(5):
        judge.prove("acme", f"made-up-{number}", WRONG)
    for _ in range(FREE):
        judge.prove("acme", "ada", WRONG)
    office.sql("UPDATE app.attempt SET last_at = last_at - interval '2 days', blocked_until = now() - interval '1 day'")
    assert judge.prove("acme", "ada", WRONG) == NotProved()
    assert office.sql("SELECT failures FROM app.attempt") == [(1,)]


def test_another_process_waits_as_well(office: Office) -> None:
    """A name that rests here rests in a process that was started a moment ago."""
    for _ in range(FREE + 3):
        office.directory.prover.prove("acme", "ada", WRONG)
        office.sql("UPDATE app.attempt SET blocked_until = now()")
    Throttle(create_engine(sqlalchemy_url(DatabaseUrl(office.database.app_url)), poolclass=NullPool)).claim("acme", "ada")
    assert rests(office) == pause(FREE + 4)
    program = (
        "import sys; from gateway.people.directory import Directory\n"
        "print(Directory(sys.argv[1]).prover.prove('acme', 'ada', 'wrong horse battery').wait)"
    )
    called = [sys.executable, "-c", program, office.database.app_url]
    done = subprocess.run(called, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 3000 < int(done.stdout) <= 3600


def test_a_hash_follows_the_parameters(office: Office) -> None:
    """The right password of a hash made under other parameters is hashed anew; a wrong one leaves it."""
    plant_user(office.database.app_url, "acme", "ada")
    dearer = Passwords(dataclasses.replace(AFFORDABLE, time_cost=2))
    ((before,),) = office.sql("SELECT password FROM app.user_account")
    assert isinstance(prover(office, dearer).prove("acme", "ada", WRONG), NotProved)
    assert office.sql("SELECT password FROM app.user_account") == [(before,)]
    person = prover(office, dearer).prove("acme", "ada", PASSWORD)
    ((after,),) = office.sql("SELECT password FROM app.user_account")
    assert "t=1" in str(before) and "t=2" in str(after)
    assert person == prover(office, dearer).prove("acme", "ada", PASSWORD)
    assert office.sql("SELECT password FROM app.user_account") == [(after,)]


async def test_a_password_is_never_stored_or_shown(office: Office) -> None:
    """Neither tables nor the repr of what is about it hold a password; a person's repr has no hash."""
    hashed = CHEAP.hash(PASSWORD.encode())
    await office.make(users.new_user("acme", "ada", "Ada", [Role.CALLER], [], hashed))
    tables = office.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'app'")
    stored = "".join(str(office.sql(f"SELECT t::text FROM app.{table} t")) for (table,) in tables)
    assert PASSWORD not in stored and PASSWORD.encode().hex() not in stored and hashed in stored
    everything = repr(office.prove("ada")) + repr(office.acts()) + repr(office.directory.users())
    assert "argon2" not in everything and hashed.rsplit("$", 1)[1] not in everything


async def test_proofs_do_not_wait_for_one_another(office: Office) -> None:
    """Many people prove themselves at the same moment, each with a password of their own."""
    names = [f"user{number}" for number in range(8)]
    for name in names:
        plant_user(office.database.app_url, "acme", name, password=f"the password of {name}")
    proofs = (asyncio.to_thread(office.prove, name, f"the password of {name}") for name in names)
    assert [person.name for person in await asyncio.gather(*proofs)] == names
