"""`palimpsest audit replay`: run a recorded generation again and say whether it comes out the same."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID

import rich_click as click

from gateway.cli.failure import NO_VERDICT, in_one_line
from gateway.cli.identity import Typed, office, proved_option, reason_option, stdin_option
from gateway.cli.json_file import json_to, require_folder
from gateway.json_file import write_json
from gateway.people.names import Role


@click.command(
    epilog="Exit status: 0 the same in every step   1 an exact replay was due and failed   3 it differs or cannot be run here, "
    "and nothing was promised   64 nothing was run\n\nExamples:\n\n"
    "  palimpsest audit replay --tenant acme --reason 'complaint 12' --by grace "
    "019a1f2e-7c3b-7d10-8a44-3f5b2c1d0e9f\n\n"
    "  palimpsest audit replay --tenant acme --reason 'complaint 12' --json replay.json 019a1f2e-7c3b-7d10-8a44-3f5b2c1d0e9f",
)
@click.option("--tenant", required=True, help="Whose log.")
@json_to("Write verdict, claim and first difference to this file; `same` is null where nothing could be compared.")
@reason_option("Why its content is read; it is recorded.")
@proved_option(Role.AUDITOR)
@stdin_option
@click.argument("generation", type=click.UUID)
@in_one_line(NO_VERDICT)
def replay(tenant: str, json_file: Path | None, reason: str, by: str | None, password_stdin: bool, generation: UUID) -> None:
    """Ask the model again what the records say was asked, and compare every step with what they say came of it."""
    require_folder(json_file)

    import policies
    from audit.keys import KeyStore
    from audit.lifecycle import read_standing
    from audit.store import read_tenant
    from engine.model.checkpoint import load
    from gateway.bundles import require_log
    from gateway.law.known import known_policies, law_of
    from gateway.on_record import record_access
    from gateway.recorded import bodies_of
    from gateway.replay import Claim, ReplayRefused
    from gateway.replay import replay as run

    with office() as here:
        settings, reader_url = here.settings, here.urls.reader
        require_log(reader_url, tenant)
        actor = here.actor(tenant, by, Typed(password_stdin), Role.AUDITOR)
        record_access(settings, here.urls, tenant, generation, reason, actor)
        with read_tenant(reader_url, tenant) as reader:
            bodies = list(bodies_of(reader, KeyStore(settings.keys), generation))
        laws = read_standing(reader_url, tenant, KeyStore(settings.keys)).laws
    law = law_of(tenant, bodies, known_policies(laws, policies.load(policies.BASELINE)))
    try:
        found = run(load(settings.checkpoint, device=settings.device), generation, bodies, None if law is None else law.gate())
    except ReplayRefused as error:
        click.echo(f"not replayed: {error}", err=True)
        write_json(json_file, {"generation_id": str(generation), "same": None, "reason": str(error)})
        sys.exit(3)
    verdict = "the same in every step" if found.difference is None else f"differs: {found.difference}"
    click.echo(f"{verdict}\n{found.compared} items compared; {found.claim.value}: {found.reason}")
    document = {
        "generation_id": str(generation),
        "same": found.difference is None,
        "difference": found.difference,
        "claim": found.claim.value,
        "reason": found.reason,
        "items": found.compared,
    }
    write_json(json_file, document)
    if found.difference is not None:
        sys.exit(1 if found.claim is Claim.EXACT else 3)
