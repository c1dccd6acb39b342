"""Tenants and keys: a key is known by its text alone, and its text is kept nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest

from audit.header import uuid7
from gateway.registry import PREFIX, NewKey, Registry, RegistryError, Subject
from gateway.settings import DatabaseUrl
from tests.postgres_fixtures import Database

CROWD = 6


@pytest.fixture
def registry(database: Database) -> Iterator[Registry]:
    """A registry over a fresh database with the tenant `acme`."""
    made = Registry(DatabaseUrl(database.app_url))
    made.create_tenant("acme")
    yield made
    made.close()


def everything_stored(database: Database) -> str:
    """Every row of every table of the gateway, as text."""
    with psycopg.connect(database.superuser_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'app'").fetchall()
        rows = [row[0] for (table,) in tables for row in connection.execute(f"SELECT t::text FROM app.{table} t")]
    return "\n".join(rows)


def at_once(act: Callable[[int], object]) -> list[object]:
    """What each of a crowd that acts at the same moment gets; a RegistryError is given, not raised."""
    ready = Barrier(CROWD)

    def one(number: int) -> object:
        ready.wait(10)
        try:
            return act(number)
        except RegistryError as error:
            return error

    with ThreadPoolExecutor(CROWD) as crowd:
        return list(crowd.map(one, range(CROWD)))


def test_a_key_is_found_by_its_text_only(registry: Registry) -> None:
    """The text finds tenant and key id; its hash, its id, another case or a part of it find nobody."""
    key = registry.create_key("acme", "laptop")
    assert registry.find(key.text) == Subject("acme", str(key.id))
    hashed = hashlib.sha256(key.text.encode())
    others = (hashed.hexdigest(), str(key.id), key.text.swapcase(), key.text[:-1], f"{key.text} ", key.text[4:], PREFIX, "")
    assert [registry.find(text) for text in (*others, "\udcff", "a\0b")] == [None] * 10


def test_keys_are_long_and_never_alike(registry: Registry) -> None:
    """A key has our prefix and 256 random bits, and its text does not show where a key is printed."""
    made = [registry.create_key("acme", "") for _ in range(20)]
    assert len({key.text for key in made}) == len({key.id for key in made}) == 20
    assert all(key.text.startswith(PREFIX) and len(key.text) == len(PREFIX) + 43 for key in made)
    assert not any(key.text in repr(key) for key in made)


def test_a_key_is_never_stored_in_clear(registry: Registry, database: Database) -> None:
    """Not even a superuser finds a key, or its random part, in the tables: only its SHA-256."""
    key = registry.create_key("acme", "laptop")
    stored = everything_stored(database)
    assert "laptop" in stored and hashlib.sha256(key.text.encode()).hexdigest() in stored
    for secret in (key.text, key.text.removeprefix(PREFIX), key.text.encode().hex(), key.text[4:20]):
        assert secret not in stored


def test_a_revoked_key_is_not_found(registry: Registry) -> None:
    """Revoking ends one key from the next request on, keeps its line, and may be repeated without moving its time."""
    revoked, other = registry.create_key("acme", "old"), registry.create_key("acme", "new")
    assert registry.find(revoked.text) is not None
    registry.revoke_key(revoked.id)
    assert registry.find(revoked.text) is None and registry.find(other.text) is not None
    first = registry.keys()
    registry.revoke_key(revoked.id)
    assert registry.keys() == first
    assert [(line.label, line.revoked_at is not None) for line in first] == [("old", True), ("new", False)]


def test_lists_are_in_order_and_by_tenant(registry: Registry) -> None:
    """Tenants come by name, keys oldest first, and a tenant's keys are its own."""
    registry.create_tenant("a-first")
    for tenant, label in (("acme", "1"), ("a-first", "2"), ("acme", "3")):
        registry.create_key(tenant, label)
    assert registry.tenants() == ["a-first", "acme"]
    every, own = registry.keys(), registry.keys("acme")
    assert [line.label for line in every] == ["1", "2", "3"] and [line.label for line in own] == ["1", "3"]
    assert registry.keys("nobody") == []


@pytest.mark.parametrize("name", ["", "Acme", "-acme", "ac me", "ac/me", "ä", "a" * 64, "acme\n"])
def test_a_bad_name_is_refused_with_the_rule(registry: Registry, name: str) -> None:
    """A tenant's name that could not stand in a record is refused, and the message says what may."""
    with pytest.raises(RegistryError, match="use 1 to 63 of a-z 0-9"):
        registry.create_tenant(name)
    assert registry.tenants() == ["acme"]


def test_mistakes_say_what_to_do(registry: Registry) -> None:
    """A tenant twice, the log's own tenant, a key for nobody and the revoking of no key each say what is wrong."""
    with pytest.raises(RegistryError, match="'acme' exists already"):
        registry.create_tenant("acme")
    with pytest.raises(RegistryError, match="'system' is the log of global acts: choose another name"):
        registry.create_tenant("system")
    with pytest.raises(RegistryError, match="no tenant 'nobody': make it with `palimpsest tenants create`"):
        registry.create_key("nobody", "")
    with pytest.raises(RegistryError, match="see `palimpsest keys list`"):
        registry.revoke_key(uuid7())
    assert registry.tenants() == ["acme"] and registry.keys() == []


def test_a_crowd_makes_one_tenant(registry: Registry) -> None:
    """Of many who make the same tenant at once one succeeds, and the others hear that it exists."""
    outcomes = at_once(lambda _: registry.create_tenant("rush"))
    refusals = [outcome for outcome in outcomes if isinstance(outcome, RegistryError)]
    assert len(refusals) == CROWD - 1 and {str(error) for error in refusals} == {"tenant 'rush' exists already"}
    assert registry.tenants() == ["acme", "rush"]


def test_a_crowd_makes_as_many_keys(registry: Registry) -> None:
    """Keys made at once are all good and all different."""
    outcomes = at_once(lambda number: registry.create_key("acme", str(number)))
    keys, lines = [outcome for outcome in outcomes if isinstance(outcome, NewKey)], registry.keys()
    assert {registry.find(key.text) for key in keys} == {Subject("acme", str(key.id)) for key in keys}
    assert len(keys) == CROWD and {line.label for line in lines} == set(map(str, range(CROWD)))
