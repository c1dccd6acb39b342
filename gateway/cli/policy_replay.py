"""`palimpsest policy explain`, `replay` and `sweep`: why it was decided so, and what another policy would have decided.

They open only records that hold figures, names and states; no prompt and no answer is read.
"""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import rich_click as click

from gateway.cli.failure import NO_VERDICT, CommandFailed, in_one_line
from gateway.cli.identity import Office, office
from gateway.cli.json_file import json_option, json_to, require_folder
from gateway.cli.number import Number
from gateway.cli.policy import accepted, tenant_option
from gateway.json_file import write_json

if TYPE_CHECKING:
    from gateway.law.docket import Docket
    from gateway.law.studies import Studies
    from policies import Policy, Report, Row

_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([dhm])")
_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60}


class Span(click.ParamType[int]):
    """A number of days, hours or minutes, as in `7d`; microseconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not a number of days, hours or minutes: write 7d, 12h or 30m", param, ctx)
        return int(found[1]) * _SECONDS[found[2]] * 1_000_000


_since = click.option("--since", type=Span(), help="Only requests of this last time, as in 7d; without it, all on record.")


@click.command(
    "explain",
    epilog="Example:\n\n  palimpsest policy explain --tenant acme 019a1f2e-7c3b-7d10-8a44-3f5b2c1d0e9f",
)
@tenant_option
@json_to("Write all that was asked and what it answered to this file.")
@click.argument("generation", type=click.UUID)
def explain(tenant: str, json_file: Path | None, generation: UUID) -> None:
    """Say of a recorded request which routes, budgets, gates and rules were asked, which applied, and why."""
    import policies
    from gateway.law.reports import explained

    require_folder(json_file)
    with office() as here:
        found, law = _case(here, tenant, generation)
    parts = [("request", policies.explain(law, found.facts, answer=found.answer))]
    parts += [(f"unit {at}", policies.explain(law, found.facts, unit)) for at, (unit, _) in enumerate(found.units)]
    for name, told in parts:
        _table(f"{generation}: {name}", *explained(told, None if name == "request" else law))
    write_json(json_file, {name: _plain(told) for name, told in parts})


@click.command(
    "replay",
    epilog="Examples:\n\n  palimpsest policy replay --tenant acme --since 7d stricter.toml\n\n"
    "  palimpsest policy replay --tenant acme --json replay.json stricter.toml",
)
@tenant_option
@_since
@json_option
@click.argument("file", type=click.Path(path_type=Path), required=False)
@in_one_line(NO_VERDICT)
def replay(tenant: str, since: int | None, json_file: Path | None, file: Path | None) -> None:
    """Judge recorded requests again under FILE, beside the policy in force, which must reproduce each decision.

    Without FILE only that is checked. Exit status: 0 reproduced   1 a recorded decision is not reproduced   3 nothing to judge
    64 nothing was judged
    """
    import policies
    from gateway.law.reports import compared, missing

    require_folder(json_file)
    with office() as here:
        studies = _studies(here, tenant)
        active = studies.active()
        candidate = active if file is None else accepted(file, policies.World())
        docket = studies.docket(active, _start(since))
    report = policies.replay(active, candidate, docket.rows)
    _table(f"{report.rows} requests over {report.days} days", *compared(report, active.document.prices.currency))
    for line in missing(docket):
        click.echo(line, err=True)
    write_json(json_file, _replayed(report, docket, active, candidate))
    if not report.reproduced:
        for each in report.unreproduced[:20]:
            click.echo(f"not reproduced: {each.row}: {', '.join(each.differences)}", err=True)
        sys.exit(1)
    if not report.rows:
        click.echo("no recorded request was judged by the policy in force, so nothing was reproduced", err=True)
        sys.exit(3)


@click.command(
    "sweep",
    epilog="Example:\n\n  palimpsest policy sweep --tenant acme --metric logprob_min --from -12 --to -2 --steps 6",
)
@tenant_option
@_since
@click.option("--metric", required=True, help="The figure whose thresholds are moved.")
@click.option("--from", "low", type=Number(), required=True, help="The first threshold.")
@click.option("--to", "high", type=Number(), required=True, help="The last.")
@click.option("--steps", type=click.IntRange(2, 200), default=11, show_default=True, help="How many.")
@json_option
def sweep(tenant: str, since: int | None, metric: str, low: float, high: float, steps: int, json_file: Path | None) -> None:
    """Move every threshold of the policy in force on one figure over recorded requests: what would be held, and let through."""
    import policies
    from gateway.law.reports import missing, swept

    require_folder(json_file)
    if metric not in list(policies.Metric):
        raise click.BadParameter(f"no metric {metric!r}; metrics: {', '.join(policies.Metric)}", param_hint="--metric")
    with office() as here:
        studies = _studies(here, tenant)
        active = studies.active()
        docket = studies.docket(active, _start(since))
    thresholds = [low + (high - low) * step / (steps - 1) for step in range(steps)]
    try:
        points = policies.sweep(active, docket.rows, policies.Metric(metric), thresholds)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--metric") from error
    _table(f"{metric} over {len(docket.rows)} requests", *swept(points))
    for line in missing(docket):
        click.echo(line, err=True)
    write_json(json_file, {"metric": metric, "rows": len(docket.rows), "points": _plain(points)})


def _studies(here: Office, tenant: str) -> Studies:
    """The recorded traffic of a tenant that there is."""
    import policies
    from audit.keys import KeyStore
    from gateway.law.studies import Studies

    here.require_tenant(tenant)
    return Studies(here.urls.reader, KeyStore(here.settings.keys), tenant, policies.load(policies.BASELINE))


def _start(since: int | None) -> int:
    return 0 if since is None else time.time_ns() // 1000 - since


def _case(here: Office, tenant: str, generation: UUID) -> tuple[Row, Policy]:
    """One recorded request and the policy that judged it, or exit 1."""
    found = _studies(here, tenant).case(generation)
    if found is None:
        raise CommandFailed(_why_not(here, tenant, generation))
    return found


def _why_not(here: Office, tenant: str, generation: UUID) -> str:
    """Why a request cannot be explained, from its decision alone."""
    from audit.header import decode_header
    from audit.keys import KeyStore
    from audit.records import Kind, PolicyDecision
    from audit.store import read_tenant
    from gateway.recorded import opened

    with read_tenant(here.urls.reader, tenant) as reader:
        told = [(decode_header(stored.header), stored.body) for stored in reader.request(generation)]
    if not told:
        return "no such request in this tenant"
    keys = KeyStore(here.settings.keys)
    decisions = [opened(keys, header, body) for header, body in told if header.kind == Kind.POLICY_DECISION]
    if any(isinstance(each, PolicyDecision) and each.facts is None for each in decisions):
        return "this request was refused before the policy was asked"
    return "the records of this request do not suffice: erased, retired, or of another release"


def _replayed(report: Report, docket: Docket, active: Policy, candidate: Policy) -> dict[str, Any]:
    told: dict[str, Any] = _plain(report)
    return told | {
        "reproduced": report.reproduced and report.rows > 0,
        "active": bytes(active.digest).hex(),
        "candidate": bytes(candidate.digest).hex(),
        "others": docket.others,
        "unread": docket.unread,
        "unfinished": docket.unfinished,
    }


def _plain(told: Any) -> Any:
    """Anything of the policy room as JSON has it: decimals as texts, digests in base64, sets sorted."""
    import msgspec

    def other(value: Any) -> Any:
        return sorted(value) if isinstance(value, frozenset) else str(value)

    return msgspec.to_builtins(told, str_keys=True, enc_hook=other)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from gateway.cli.administration import words

    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*map(words, row))
    # A pipe has no width that rows must fit.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
