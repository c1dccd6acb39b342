"""A command that cannot go on: one line on standard error for what a person can mend, and no traceback."""

# ruff: noqa: PLC0415 - heavy imports wait until a command runs

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import rich_click as click

from gateway.postgres_place import PostgresError
from gateway.registry import RegistryError
from gateway.settings import SettingsError

NO_VERDICT: Final = 64
"""The exit status of what failed, for commands of which 1 is a verdict; `audit verify` has it too."""


class CommandFailed(Exception):
    """What was asked cannot be done; the message says why, and what would help."""


@contextmanager
def in_one_line(status: int = 1) -> Iterator[None]:
    """Errors that a person can mend end the command with one line and this exit status."""
    from sqlalchemy.exc import DBAPIError

    from audit.errors import AuditError
    from engine.config import CheckpointError
    from engine.errors import DoesNotFit
    from migrations.cluster import MigrationError

    mended = (
        CommandFailed,
        SettingsError,
        PostgresError,
        RegistryError,
        MigrationError,
        AuditError,
        CheckpointError,
        DoesNotFit,
    )
    try:
        yield
    except mended as error:
        _fail(str(error), status)
    except DBAPIError as error:
        _fail(f"the database cannot be used: {' '.join(str(error.orig).split())}", status)
    except OSError as error:
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}", status)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"palimpsest: {message}", err=True)
    sys.exit(status)
