"""`palimpsest audit keys` and `rotate`: the keys that sign a tenant's log, for its verifiers, and new ones in their place."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import os

import rich_click as click

from gateway.cli.identity import Typed, office, proved_option, stdin_option
from gateway.people.names import Role


@click.command(epilog="Example:\n\n  palimpsest audit keys --tenant acme > acme.vkeys")
@click.option("--tenant", required=True, help="Whose log.")
def keys(tenant: str) -> None:
    """Print the verifier keys of a log, one a line: Ed25519 and ML-DSA-44 that sign now, then those that signed before."""
    from audit.ledger import log_origin
    from audit.signer import Signer
    from gateway.bundles import require_log
    from gateway.database import open_database
    from gateway.on_record import require_keys
    from gateway.settings import Settings

    settings = Settings.read(os.environ)
    with open_database(settings, lambda line: click.echo(line, err=True)) as urls:
        require_log(urls.reader, tenant)
        require_keys(settings, urls, tenant)
    signer = Signer(settings.keys, log_origin(settings.origin, tenant))
    for vkey in (*signer.vkeys, *signer.former):
        click.echo(vkey)


@click.command(
    epilog="Example, once a year and at once when a key may be known to others:\n\n"
    "  palimpsest audit rotate --tenant acme --by ada\n\nHand the new keys to all who verify this log, "
    "and let them keep the old ones: these still prove the checkpoints of before."
)
@click.option("--tenant", required=True, help="Whose log.")
@proved_option(Role.OPERATOR)
@stdin_option
def rotate(tenant: str, by: str | None, password_stdin: bool) -> None:
    """Make new signing keys for a log, beside a gateway that may be running. That is on record, under the old keys, first."""
    from audit.acts import KeyChange
    from audit.ledger import log_origin
    from audit.note import decode_vkey
    from audit.signer import Signer
    from gateway.bundles import require_log
    from gateway.on_record import put_on_record, require_keys

    with office() as here:
        require_log(here.urls.reader, tenant)
        require_keys(here.settings, here.urls, tenant)
        actor = here.actor(tenant, by, Typed(password_stdin))
        signer = Signer(here.settings.keys, log_origin(here.settings.origin, tenant))
        key = decode_vkey(signer.vkey).key_id.hex()
        act = KeyChange("rotated", "signer", key, "Ed25519 and ML-DSA-44", actor.on_record)
        put_on_record(here.settings, here.urls, tenant, act)
    signer.rotate()
    for vkey in signer.vkeys:
        click.echo(vkey)
