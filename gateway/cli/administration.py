"""`palimpsest tenants` and `palimpsest keys`."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import UUID

import rich_click as click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from gateway.registry import Registry


@contextmanager
def _registry() -> Iterator[Registry]:
    from gateway.database import open_database
    from gateway.settings import Settings

    database = open_database(Settings.read(os.environ), lambda line: click.echo(line, err=True))
    with database as urls, closing(Registry(urls.app)) as registry:
        yield registry


@click.group()
def tenants() -> None:
    """Tenants: each has a log and keys of its own."""


@tenants.command("create", epilog="Example:\n\n  palimpsest tenants create acme")
@click.argument("name")
def create_tenant(name: str) -> None:
    """Make the tenant NAME: small letters, digits, '.', '_' and '-'."""
    with _registry() as registry:
        registry.create_tenant(name)
    click.echo(name)


@tenants.command("list")
def list_tenants() -> None:
    """All tenants, one a line."""
    with _registry() as registry:
        for name in registry.tenants():
            click.echo(name)


@click.group()
def keys() -> None:
    """API keys: shown once when made, kept as hashes."""


@keys.command("create", epilog="Example:\n\n  export OPENAI_API_KEY=$(palimpsest keys create --tenant acme --label laptop)")
@click.option("--tenant", required=True, help="Whose key it is.")
@click.option("--label", default="", help="A reminder of what the key is for.")
def create_key(tenant: str, label: str) -> None:
    """Make a key and print it; it cannot be shown again."""
    with _registry() as registry:
        made = registry.create_key(tenant, label)
    click.echo(f"key {made.id} of tenant {tenant}", err=True)
    click.echo(made.text)


@keys.command("list")
@click.option("--tenant", help="Only this tenant's keys.")
def list_keys(tenant: str | None) -> None:
    """Keys with their ids, labels and states."""
    table = Table(Column("id", no_wrap=True, overflow="fold"), "tenant", "label", "made", "revoked")
    with _registry() as registry:
        for key in registry.keys(tenant):
            revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M}"
            table.add_row(str(key.id), key.tenant, Text(key.label), f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    # A pipe has no width that rows must fit: each key stays one line, whole.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


@keys.command("revoke", epilog="Example:\n\n  palimpsest keys revoke 01936f5e-0000-7000-8000-000000000001")
@click.argument("key_id", type=click.UUID)
def revoke_key(key_id: UUID) -> None:
    """Revoke the key KEY_ID, from the next request on."""
    with _registry() as registry:
        registry.revoke_key(key_id)
    click.echo(f"revoked {key_id}")
