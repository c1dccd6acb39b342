"""The `palimpsest` command. Each file of this folder is one group of subcommands; heavy imports wait until they are needed."""

# ruff: noqa: PLC0415 - heavy imports wait until a command needs them

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import rich_click as click

from gateway.cli.administration import keys, tenants
from gateway.cli.approvals import approvals
from gateway.cli.audit import audit
from gateway.cli.audit_keys import keys as log_keys
from gateway.cli.audit_keys import rotate
from gateway.cli.audit_replay import replay
from gateway.cli.bench import bench
from gateway.cli.budgets import budgets
from gateway.cli.delegations import delegate, delegations, undelegate
from gateway.cli.demo import demo
from gateway.cli.eval import evaluate
from gateway.cli.failure import in_one_line
from gateway.cli.policy import policy
from gateway.cli.policy_replay import explain, sweep
from gateway.cli.policy_replay import replay as replay_policy
from gateway.cli.projections import projections
from gateway.cli.retention import retention
from gateway.cli.serve import serve
from gateway.cli.train import train
from gateway.cli.users import users

click.rich_click.TEXT_MARKUP = "rich"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples, in the order of a first hour:\n\n  palimpsest demo\n\n  palimpsest serve\n\n"
    "  palimpsest tenants create acme\n\n  palimpsest keys create --tenant acme --label laptop\n\n"
    "  palimpsest users create ada --tenant acme --role operator\n\n"
    "  palimpsest audit export --tenant acme --out acme-log --reason trial\n\n"
    "Settings are PALIMPSEST_* variables, and each command says more with --help.",
)
@click.version_option(package_name="palimpsest", prog_name="palimpsest")
def palimpsest() -> None:
    """An audited gateway for a tri-mode language model: nothing is answered that was not recorded, and anyone may check."""


for act in (replay, log_keys, rotate):
    audit.add_command(act)
for loan in (delegate, undelegate, delegations):
    approvals.add_command(loan)
for question in (explain, replay_policy, sweep):
    policy.add_command(question)
for command in (
    serve,
    demo,
    tenants,
    users,
    keys,
    audit,
    policy,
    approvals,
    budgets,
    projections,
    retention,
    bench,
    train,
    evaluate,
):
    palimpsest.add_command(command)


def main() -> None:
    """Run the command; errors that a person can mend are one line, without a traceback."""
    from gateway import logs

    logs.configure_for_command()
    try:
        with in_one_line(), _unwound_by_signals():
            palimpsest.main(prog_name="palimpsest")
    except SystemExit as left:
        if left.code == 128 + signal.SIGINT:
            click.echo(err=True)  # a question that nobody answered leaves its line open
        raise


@contextmanager
def _unwound_by_signals() -> Iterator[None]:
    """SIGTERM and Ctrl-C unwind a command: what it opened is closed, and servers that it started are ended.

    So does the end of its terminal. One that was started deaf to either of these two (`nohup`, a script's `&`) stays so.
    """

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    def hung_up(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)  # to whoever listens to it by then: a gateway drains first

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, leave)}
    for other, reaction in ((signal.SIGINT, leave), (signal.SIGHUP, hung_up)):
        if signal.getsignal(other) is not signal.SIG_IGN:
            before[other] = signal.signal(other, reaction)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
