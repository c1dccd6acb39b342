"""Tenants and keys as they stand: a key is known by its text alone, and its text is kept nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import psycopg
import pytest

from audit.header import uuid7
from gateway.registry import PREFIX, Registry, RegistryError, Subject
from gateway.settings import DatabaseUrl
from tests.gateway.planted import plant_key, plant_tenant, plant_user
from tests.postgres_fixtures import Database


@pytest.fixture
def registry(database: Database) -> Iterator[Registry]:
    """A registry over a fresh database with the tenant `acme`."""
    made = Registry(DatabaseUrl(database.app_url))
    plant_tenant(database.app_url, "acme")
    yield made
    made.close()


def sql(database: Database, statement: str) -> None:
    """As time that has passed."""
    with psycopg.connect(database.superuser_url) as connection:
        connection.execute(statement.encode())


def everything_stored(database: Database) -> str:
    """Every row of every table of the gateway, as text."""
    with psycopg.connect(database.superuser_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'app'").fetchall()
        rows = [row[0] for (table,) in tables for row in connection.execute(f"SELECT t::text FROM app.{table} t")]
    return "\n".join(rows)


def test_a_key_is_found_by_its_text_only(registry: Registry, database: Database) -> None:
    """The text finds tenant and key id; its hash, its id, another case or a part of it find nobody."""
    key = plant_key(database.app_url, "acme")
    assert registry.find(key.text) == Subject("acme", str(key.id))
    hashed = hashlib.sha256(key.text.encode())
    others = (hashed.hexdigest(), str(key.id), key.text.swapcase(), key.text[:-1], f"{key.text} ", key.text[4:], PREFIX, "")
    assert [registry.find(text) for text in (*others, "\udcff", "a\0b")] == [None] * 10


def test_keys_are_long_and_never_alike(registry: Registry, database: Database) -> None:
    """A key has our prefix and 256 random bits, and its text does not show where a key is printed."""
    made = [plant_key(database.app_url, "acme") for _ in range(20)]
    assert len({key.text for key in made}) == len({key.id for key in made}) == 20
    assert all(key.text.startswith(PREFIX) and len(key.text) == len(PREFIX) + 43 for key in made)
    assert not any(key.text in repr(key) for key in made)


def test_a_key_is_never_stored_in_clear(registry: Registry, database: Database) -> None:
    """Not even a superuser finds a key, or its random part, in the tables: only its SHA-256."""
    key = plant_key(database.app_url, "acme", "laptop")
    stored = everything_stored(database)
    assert "laptop" in stored and hashlib.sha256(key.text.encode()).hexdigest() in stored
    for secret in (key.text, key.text.removeprefix(PREFIX), key.text.encode().hex(), key.text[4:20]):
        assert secret not in stored


def test_a_users_key_brings_the_user(registry: Registry, database: Database) -> None:
    """A user's key speaks for the user, in the user's groups of this moment, and for nobody while the user is disabled."""
    plant_user(database.app_url, "acme", "ada", groups=("leads", "coders"))
    key, other = plant_key(database.app_url, "acme", user="ada"), plant_key(database.app_url, "acme")
    assert registry.find(key.text) == Subject("acme", str(key.id), ("coders", "leads"), "ada")
    sql(database, "UPDATE app.user_account SET groups = '{guests}'")
    assert registry.find(key.text) == Subject("acme", str(key.id), ("guests",), "ada")
    sql(database, "UPDATE app.user_account SET disabled_at = now()")
    assert registry.find(key.text) is None and registry.find(other.text) is not None


def test_an_expired_key_is_not_found(registry: Registry, database: Database) -> None:
    """A key opens nothing from the moment on at which it ends, by the database's clock."""
    key = plant_key(database.app_url, "acme")
    sql(database, "UPDATE app.api_key SET expires_at = now() + interval '1 hour'")
    assert registry.find(key.text) is not None
    sql(database, "UPDATE app.api_key SET expires_at = now()")
    assert registry.find(key.text) is None


def test_lists_are_in_order_and_by_tenant(registry: Registry, database: Database) -> None:
    """Tenants come by name, keys oldest first, and a tenant's keys are its own."""
    plant_tenant(database.app_url, "a-first")
    for tenant, label in (("acme", "1"), ("a-first", "2"), ("acme", "3")):
        plant_key(database.app_url, tenant, label)
    assert registry.tenants() == ["a-first", "acme"]
    every, own = registry.keys(), registry.keys("acme")
    assert [line.label for line in every] == ["1", "2", "3"] and [line.label for line in own] == ["1", "3"]
    assert registry.keys("nobody") == [] and registry.tenant_of(own[0].id) == "acme"


def test_an_unknown_key_is_a_mistake_with_a_way_out(registry: Registry) -> None:
    """Asking whose a key is that nobody has says where to look."""
    with pytest.raises(RegistryError, match="see `palimpsest keys list`"):
        registry.tenant_of(uuid7())
