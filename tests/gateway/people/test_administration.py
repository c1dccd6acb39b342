"""Changes: recorded before they are in force, whatever dies in between, and made by whoever may make them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from audit.acts import KeyChange, KeyTerms, TenantMade, UserChange
from audit.verify import Verdict, verify
from audit.writer import SYSTEM
from gateway.administration import Administration, Decide, Unfinished
from gateway.changes import UserState
from gateway.people import users
from gateway.people.names import Role
from gateway.registry import RegistryError, Subject
from gateway.tenancy import key_made, key_revoked, key_rotated, new_key, new_text, tenant_made
from tests.gateway.people.away import Away
from tests.gateway.people.dying import STATUS
from tests.gateway.people.office import ME, Office, acts_of, opened, urls_of
from tests.gateway.planted import CHEAP, PASSWORD, plant_key, plant_tenant, plant_user
from tests.gateway.tenant_log import TenantLog

ROOT = Path(__file__).parents[3]
HASH = CHEAP.hash(PASSWORD.encode())


def made(name: str, *roles: Role, groups: Sequence[str] = (), tenant: str = "acme") -> Decide:
    """The decision that there is a user of this name."""
    return users.new_user(tenant, name, name.title(), roles, groups, HASH)


async def test_each_change_of_a_user_is_on_record(office: Office) -> None:
    """What was done, to whom, by whom, and how the user stands then; never a hash or a password."""
    await office.make(made("ada", Role.OPERATOR))
    ada = office.prove("ada")
    await office.make(made("grace", Role.CALLER, groups=("leads",)), ada)
    await office.make(users.other_roles("acme", "grace", [Role.AUDITOR, Role.APPROVER], [Role.CALLER]), ada)
    await office.make(users.other_groups("acme", "grace", ["night"], ["leads", "never there"]), ada)
    await office.make(users.new_password("acme", "grace", HASH), ada)
    await office.make(users.disabled("acme", "grace"), ada)
    await office.make(users.enabled("acme", "grace"), ada)
    first, *rest = office.acts()
    ids = {line.name: line.id for line in office.directory.users("acme")}
    assert first == UserChange("made", ids["ada"], "ada", "Ada", ("operator",), (), True, "account root")
    two, grace = ("approver", "auditor"), (ids["grace"], "grace", "Grace")
    assert rest == [
        UserChange("made", *grace, ("caller",), ("leads",), True, "ada"),
        UserChange("roles", *grace, two, ("leads",), True, "ada"),
        UserChange("groups", *grace, two, ("night",), True, "ada"),
        UserChange("password", *grace, two, ("night",), True, "ada"),
        UserChange("disabled", *grace, two, ("night",), False, "ada"),
        UserChange("enabled", *grace, two, ("night",), True, "ada"),
    ]


async def test_each_change_of_tenants_and_keys_is_on_record(office: Office, tmp_path: Path) -> None:
    """Tenants in the log of `system`, keys in the tenant's own, with their terms; and both logs verify offline."""
    await office.make(tenant_made("beta"), tenant=SYSTEM)
    await office.make(made("ada", groups=("leads",)))
    key = new_key()
    await office.make(key_made(key, "acme", "laptop", "ada", days=90))
    text = new_text()
    await office.make(key_rotated(key.id, text))
    assert office.registry.find(key.text) is None
    assert office.registry.find(text) == Subject("acme", str(key.id), ("leads",), "ada")
    await office.make(key_revoked(key.id))
    assert office.registry.find(text) is None
    assert office.acts(SYSTEM) == [TenantMade("beta", "account root")]
    (line,) = office.registry.keys("acme")
    assert line.expires_at is not None and line.revoked_at is not None
    shown = str(key.id)
    terms = KeyTerms(shown, "ada", int(line.expires_at.timestamp() * 1_000_000), "account root")
    assert office.acts()[1:] == [
        KeyChange("made", "caller", shown, "laptop", "account root"), terms,
        KeyChange("rotated", "caller", shown, "laptop", "account root"), terms,
        KeyChange("revoked", "caller", shown, "laptop", "account root"),
    ]  # fmt: skip
    log = TenantLog(office.database, office.settings.keys, office.settings.origin)
    await asyncio.sleep(1.2)  # the writer signs within a second
    vkey, origin = await asyncio.to_thread(log.export, tmp_path / "out")
    assert verify(tmp_path / "out", [vkey], origin).verdict is Verdict.VERIFIED


async def test_what_is_so_already_is_not_recorded(office: Office) -> None:
    """A role twice, a group that is not there, disabling twice and revoking twice change nothing and leave no record."""
    await office.make(made("ada", Role.CALLER))
    key = plant_key(office.database.app_url, "acme")
    assert await office.make(users.other_roles("acme", "ada", [Role.CALLER], [Role.AUDITOR])) is None
    assert await office.make(users.other_groups("acme", "ada", [], ["nowhere"])) is None
    assert await office.make(users.enabled("acme", "ada")) is None
    await office.make(users.disabled("acme", "ada"))
    await office.make(key_revoked(key.id))
    before = office.registry.keys()
    assert await office.make(users.disabled("acme", "ada")) is None
    assert await office.make(key_revoked(key.id)) is None
    assert len(office.acts()) == 3 and office.registry.keys() == before


async def refused(office: Office, decide: Decide, why: str, by: Any = ME, tenant: str = "acme") -> None:
    """The change is refused for this reason and leaves no record."""
    before = office.acts(tenant)
    with pytest.raises(RegistryError, match=why):
        await office.make(decide, by, tenant)
    assert office.acts(tenant) == before and office.sql("SELECT * FROM app.staged_change") == []


async def test_operators_only_once_there_is_one(office: Office) -> None:
    """The system's account makes a tenant's first people; from its first operator on only operators change anything."""
    url = office.database.app_url
    await office.make(made("carl", Role.CALLER))
    await office.make(made("ada", Role.OPERATOR))
    plant_tenant(url, "beta")
    plant_user(url, "beta", "stranger", Role.OPERATOR)
    plant_user(url, SYSTEM, "root", Role.OPERATOR)
    carl, ada, root = office.prove("carl"), office.prove("ada"), office.prove("root", tenant=SYSTEM)
    stranger = office.prove("stranger", tenant="beta")
    key = plant_key(url, "acme")
    every = (made("new"), users.disabled("acme", "carl"), key_made(new_key(), "acme", ""), key_revoked(key.id))
    for decide in every:
        await refused(office, decide, "'acme' has operators: name one of them with --by")
        for person in (carl, stranger):
            await refused(office, decide, f"'{person.name}' is no operator of 'acme'", person)
    await refused(office, tenant_made("gamma"), "'system' has operators", tenant=SYSTEM)
    await refused(office, tenant_made("gamma"), "'ada' is no operator of 'system'", ada, SYSTEM)
    for decide in every:
        await office.make(decide, root)
    assert {act.requested_by for act in office.acts()[2:]} == {"system/root"}
    await office.make(users.disabled("acme", "ada"), root)
    await refused(office, made("newer"), "'ada' is no operator of 'acme'", ada)


async def test_nobody_does_it_to_the_same_user(office: Office) -> None:
    """An operator changes neither his own roles nor groups nor state; his own password he may, until it was changed."""
    await office.make(made("ada", Role.OPERATOR))
    ada = office.prove("ada")
    add = [Role.AUDITOR]
    for decide in (users.other_roles("acme", "ada", add, []), users.other_groups("acme", "ada", ["x"], []),
                   users.disabled("acme", "ada"), users.enabled("acme", "ada")):  # fmt: skip
        await refused(office, decide, "takes another operator", ada)
    await office.make(made("carl"), ada)
    carl = office.prove("carl")
    await office.make(users.new_password("acme", "carl", HASH), carl)
    await refused(office, users.new_password("acme", "carl", HASH), "changed meanwhile", carl)
    await refused(office, users.new_password("acme", "ada", HASH), "no operator", office.prove("carl"))


async def test_mistakes_say_what_to_do(office: Office) -> None:
    """What is there twice, not there, badly named or over says so, and nothing is recorded."""
    await office.make(made("ada", Role.CALLER))
    key = plant_key(office.database.app_url, "acme")
    await refused(office, made("ada"), "exists already: names are never given twice")
    await refused(office, made("bob", tenant="nowhere"), "no tenant 'nowhere'")
    await refused(office, users.disabled("acme", "nobody"), "see `palimpsest users list`")
    await refused(office, tenant_made("acme"), "'acme' exists already", tenant=SYSTEM)
    await refused(office, key_made(new_key(), "acme", "", "nobody"), "no user 'nobody'")
    await refused(office, key_made(new_key(), SYSTEM, ""), "has no keys", tenant=SYSTEM)
    await office.make(users.disabled("acme", "ada"))
    await refused(office, key_made(new_key(), "acme", "", "ada"), "is disabled: enable it first")
    office.sql("UPDATE app.api_key SET expires_at = now()")
    await refused(office, key_rotated(key.id, new_text()), "has expired: say for how long")
    await office.make(key_rotated(key.id, new_text(), days=1))
    await office.make(key_revoked(key.id))
    await refused(office, key_rotated(key.id, new_text(), days=1), "is revoked")
    await refused(office, key_revoked(UUID(int=1)), "see `palimpsest keys list`")


@pytest.mark.parametrize("name", ["", "Ada", "-ada", "a da", "a/da", "ä", "a" * 64, "ada\n", "ada\0", "\udcff"])
def test_a_bad_name_is_refused_with_the_rule(name: str) -> None:
    """A user's name that could be taken for something else is refused before anything is opened."""
    with pytest.raises(RegistryError, match="1 to 63 of a-z 0-9"):
        made(name)


@pytest.mark.parametrize("text", ["", " x", "x ", "a\nb", "a" * 65, "\udcff", "a\0b"])
def test_display_names_and_groups_are_one_line(text: str) -> None:
    """What a list or a policy could not show is refused."""
    with pytest.raises(RegistryError, match="one line of 1 to 64"):
        users.new_user("acme", "ada", text, [], [], HASH)
    with pytest.raises(RegistryError, match="one line of 1 to 64"):
        users.new_user("acme", "ada", "Ada", [], [text], HASH)
    with pytest.raises(RegistryError, match="at most 64 groups"):
        users.new_user("acme", "ada", "Ada", [], map(str, range(65)), HASH)


@pytest.mark.parametrize("label", [" x", "a\nb", "\udcff", "é" * 129])
def test_a_label_is_one_line(label: str) -> None:
    """A label that no record could hold, or no list show, is refused."""
    with pytest.raises(RegistryError, match="trimmed line"):
        key_made(new_key(), "acme", label)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_what_died_half_way_is_finished(office: Office, moment: str, tmp_path: Path) -> None:
    """A process that dies right before or right after its record leaves a change that the next one makes, on record once."""
    urls = (office.database.app_url, office.database.reader_url)
    called = [sys.executable, "-m", "tests.gateway.people.dying", *urls, str(tmp_path), moment]
    assert await asyncio.to_thread(subprocess.call, called, cwd=ROOT) == STATUS
    assert office.directory.users() == [] and len(office.acts()) == (moment == "after")
    with pytest.raises(RegistryError, match="'acme' has operators"):  # the next change finds the operator that was begun
        await office.make(made("grace"))
    (act,), (ada,) = office.acts(), office.directory.users()
    assert act == UserChange("made", ada.id, "ada", "Ada", ("operator",), (), True, "account root")
    assert office.sql("SELECT * FROM app.staged_change") == []


async def test_what_the_log_does_not_take_is_kept(office: Office) -> None:
    """While the log is away a change is not in force; it is made, on record once, by the next start."""
    away = Administration(Away(), urls_of(office.database), office.settings.keys)
    with pytest.raises(Unfinished, match="the log is away; the change is kept"):
        await away.make("acme", ME, made("ada"))
    assert office.directory.users() == [] and office.acts() == []
    await office.administration.finish()
    await office.administration.finish()
    assert [line.name for line in office.directory.users()] == ["ada"] and len(office.acts()) == 1
    assert office.sql("SELECT * FROM app.staged_change") == []


async def test_the_same_act_again_is_another_record(office: Office) -> None:
    """An act equal to an earlier one is not taken for it: each password that was set has its record."""
    await office.make(made("ada"))
    away = Administration(Away(), urls_of(office.database), office.settings.keys)
    await office.make(users.new_password("acme", "ada", HASH))
    with pytest.raises(Unfinished):
        await away.make("acme", ME, users.new_password("acme", "ada", CHEAP.hash(b"another battery staple")))
    await office.administration.finish()
    assert [act.act for act in office.acts() if isinstance(act, UserChange)] == ["made", "password", "password"]
    assert office.prove("ada", "another battery staple").name == "ada"


async def test_two_processes_take_turns(office: Office, tmp_path: Path) -> None:
    """Two administrations with writers of their own make each thing once, and every change is on record once."""
    async with opened(office.database, tmp_path) as other:

        async def attempt(number: int) -> object:
            here = (office, other)[number % 2]
            return await here.make(made(f"user{number // 2}"))

        outcomes = await asyncio.gather(*map(attempt, range(6)), return_exceptions=True)
    won = [outcome for outcome in outcomes if isinstance(outcome, UserState)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, RegistryError)]
    assert len(won) == len(lost) == 3 and all("exists already" in str(error) for error in lost)
    names = [act.name for act in acts_of(office.database, office.settings, "acme") if isinstance(act, UserChange)]
    assert sorted(names) == [line.name for line in office.directory.users()] == ["user0", "user1", "user2"]


async def test_who_leaves_does_not_stop_a_change(office: Office) -> None:
    """A caller who is cancelled while it is made leaves a change that is on record and in force."""
    making = asyncio.create_task(office.make(made("ada")))
    await asyncio.sleep(0)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert [line.name for line in office.directory.users()] == ["ada"] and len(office.acts()) == 1


@pytest.mark.parametrize("name", ["", "Acme", "-acme", "ac me", "ac/me", "\u00e4", "a" * 64, "acme\n"])
def test_a_tenant_has_a_name_that_every_header_can_hold(name: str) -> None:
    """A tenant of any other name is refused before anything is decided or recorded."""
    with pytest.raises(RegistryError, match="use 1 to 63 of a-z 0-9"):
        tenant_made(name)
