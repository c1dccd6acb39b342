"""`palimpsest audit`: take a tenant's log out of the database, and check such an export."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from gateway.cli.failure import NO_VERDICT
from gateway.cli.identity import Typed, office, proved_option, reason_option, stdin_option
from gateway.people.names import Role

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.bundles import Made

FORMATS = ("jsonl", "parquet", "csv", "prov", "in-toto", "ocsf", "cef", "html")


@click.group(
    epilog="Examples:\n\n  palimpsest audit export --tenant acme --out acme-log --reason 'review of November' --by grace\n\n"
    "  palimpsest audit verify acme-log --origin palimpsest.local/acme --vkey @acme-log.vkeys\n\n"
    "  palimpsest audit keys --tenant acme > acme.vkeys"
)
def audit() -> None:
    """The append-only log: export it, verify it offline, run an answer again, give out and change the keys that sign it."""


@audit.command(
    "export",
    epilog="Examples:\n\n  palimpsest audit export --tenant acme --out acme-log --reason 'review of November' --by grace\n\n"
    "  palimpsest audit export --tenant acme --out acme-log --reason 'case 7' --format html --format in-toto\n\n"
    "  palimpsest audit export --tenant acme --out acme-siem --reason 'daily feed' --sealed --format ocsf\n\n"
    "An export always holds the whole log from its first record: the proof of a part could not be checked. "
    "It discloses what was asked and answered unless --sealed or --request says otherwise. The keys that verify it are in "
    "OUT.vkeys, beside the folder: hand them to the auditor by another way.",
)
@click.option("--tenant", required=True, help="Whose log.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new or empty folder.")
@click.option("--sealed", is_flag=True, help="Disclose no content: integrity can be proven, nothing can be read.")
@click.option(
    "--request",
    "requests",
    multiple=True,
    type=click.UUID,
    help="Disclose this request alone, and the acts that concern it: its policy, erasures, holds, exports ... May be repeated.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="A further form, may be repeated. The evidence is always there, as jsonl. html, in-toto and prov: a file for each "
    "disclosed generation. parquet needs the extra `export`. ocsf and cef: no content, for security monitors.",
)
@reason_option()
@proved_option(Role.AUDITOR)
@stdin_option
def export(
    tenant: str,
    out: Path,
    sealed: bool,
    requests: tuple[UUID, ...],
    formats: tuple[str, ...],
    reason: str,
    by: str | None,
    password_stdin: bool,
) -> None:
    """Write a tenant's whole log, its signed checkpoints and the keys of its bodies: all, those of --request, or none.

    That it was exported is on record in that log before the first byte is written.
    """
    from audit.acts import Export
    from audit.export import Format, claim
    from gateway.bundles import Disclose, Tail, export_log, require_log
    from gateway.log_health import await_witnesses
    from gateway.on_record import put_on_record

    wanted = frozenset(map(Format, formats))
    if sealed and requests:
        raise click.UsageError("--sealed discloses nothing and --request something: choose")
    disclose = frozenset(requests) or (Disclose.NOTHING if sealed else Disclose.ALL)
    with office() as here:
        size = require_log(here.urls.reader, tenant, frozenset(requests))
        actor = here.actor(tenant, by, Typed(password_stdin), Role.AUDITOR)
        claim(out)
        shown = "requests" if requests else "nothing" if sealed else "all"
        act = Export(",".join(sorted({"jsonl", *formats})), size, shown, len(set(requests)), reason, actor.on_record)
        place = put_on_record(here.settings, here.urls, tenant, act)
        tail = Tail.RECORDED  # of a log that takes no records all is shown, for the verifier to judge
        if place == tenant:
            tail = await_witnesses(here.settings, here.urls.reader, tenant, size + 1)
        with _progress() as watch:
            made = export_log(here.settings, here.urls.reader, tenant, out, disclose, wanted, watch, tail)
    _tell(made, tenant, place)


def _tell(made: Made, tenant: str, place: str) -> None:
    """What was written, what is wrong with it, and how its reader checks it."""
    derived = {0: "", 1: ", and 1 derived file"}.get(made.derived, f", and {made.derived} derived files")
    click.echo(f"{made.records} records in {made.folder}{derived}")
    if place != tenant:
        click.echo(f"warning: the log of {tenant!r} takes no records, so this export is on record in {place!r}", err=True)
    if made.contradicted is not None:
        click.echo(
            f"warning: the records contradict the checkpoint of {made.contradicted} records; verify this export", err=True
        )
    words = ("verify", str(made.folder), "--origin", made.origin, "--vkey", f"@{_keys_beside(made)}")
    click.echo(f"verify with: python -m audit {shlex.join(words)}")
    click.echo("and, for a verdict that a forger of Ed25519 cannot obtain: --require ml-dsa-44")


def _keys_beside(made: Made) -> Path:
    """The file that now holds every key that has signed this log, one a line; never in the folder that it verifies."""
    folder = made.folder if made.folder.name not in ("", "..") else made.folder.resolve()
    file = folder.with_name(f"{folder.name}.vkeys")
    file.write_text("".join(f"{vkey}\n" for vkey in (*made.vkeys, *made.former)), encoding="ascii")
    return file


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, for as long as records are written; nothing where no person looks on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("records"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("records", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


class _Misused(click.UsageError):
    exit_code = NO_VERDICT


class _Verifying(click.RichCommand):
    """Wrong use ends with the verifier's own status, for click's 2 would read as a verdict: malformed."""

    def make_context(self, *given: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*given, **more)
        except click.UsageError as error:
            raise _Misused(error.format_message(), error.ctx) from error


@audit.command(
    "verify",
    cls=_Verifying,
    epilog="Examples:\n\n  palimpsest audit verify acme-log --origin palimpsest.local/acme --vkey @acme-log.vkeys\n\n"
    "  palimpsest audit verify acme-log --origin palimpsest.local/acme --vkey 'palimpsest.local/acme+1a2b3c4d+AQ...' "
    "--checkpoint kept.txt\n\n"
    "Exit status: 0 verified   1 tampered   2 malformed   3 valid but incomplete   64 usage   70 internal fault",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--vkey",
    required=True,
    multiple=True,
    metavar="KEY|@FILE",
    help="The log's verifier key, or a file with one a line, as `palimpsest audit keys` prints them; may be repeated.",
)
@click.option("--origin", required=True, help="The log's name.")
@click.option("--checkpoint", multiple=True, metavar="FILE", help="A checkpoint of this log that you kept; may be repeated.")
@click.option("--require", multiple=True, help="ed25519 or ml-dsa-44: a signature that the newest checkpoint must bear.")
@click.option(
    "--require-witness", multiple=True, metavar="KEY|@FILE", help="A witness that must have seen every record; may be repeated."
)
@click.option(
    "--anchor",
    multiple=True,
    metavar="KEY|@FILE",
    help="A key of the log of checkpoints, which is tenant system's: hold what it says against this log; may be repeated.",
)
@click.option("--quorum", metavar="K", help="How many of these witnesses must have; default all.")
def verify(
    folder: Path,
    vkey: tuple[str, ...],
    origin: str,
    checkpoint: tuple[str, ...],
    require: tuple[str, ...],
    require_witness: tuple[str, ...],
    anchor: tuple[str, ...],
    quorum: str | None,
) -> None:
    """Verify an export; the same as `python -m audit verify`, with the same exit status."""
    from audit.__main__ import main

    given = {"vkey": vkey, "checkpoint": checkpoint, "require": require, "require-witness": require_witness, "anchor": anchor}
    given["quorum"] = () if quorum is None else (quorum,)
    options = (f"--{name}={value}" for name, values in given.items() for value in values)
    sys.exit(main(["verify", str(folder), f"--origin={origin}", *options]))
