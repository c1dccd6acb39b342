"""The `palimpsest` command in the test's process, with a home of its own and, if wanted, a database that somebody else runs."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cli import main
from tests.postgres_fixtures import Database


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs `palimpsest` as a person would type it; `set` changes a setting for the rest of the test."""

    patch: pytest.MonkeyPatch
    captured: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, typed: str = "") -> Done:
        """Run one command to its end; `typed` is what it may read."""
        self.patch.setattr(sys, "argv", ["palimpsest", *arguments])
        self.patch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            main()
        written = self.captured.readouterr()
        return Done(int(ended.value.code or 0), written.out, written.err)

    def set(self, **settings: str) -> None:
        """Give PALIMPSEST_ settings by their names in small letters."""
        for name, text in settings.items():
            self.patch.setenv(f"PALIMPSEST_{name.upper()}", text)


def command_line(
    patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str], home: Path, database: Database | None = None
) -> CommandLine:
    """A command line with no setting but its home and the logins of `database`."""
    for name in [name for name in os.environ if name.startswith("PALIMPSEST_")]:
        patch.delenv(name)
    patch.setenv("COLUMNS", "80")
    made = CommandLine(patch, captured)
    made.set(home=str(home))
    if database is not None:
        made.set(database_url=database.app_url, reader_url=database.reader_url)
    return made
