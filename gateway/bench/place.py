"""Where a benchmark has its database: a throwaway embedded PostgreSQL with every durability on, or the configured one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from gateway.postgres_place import find_place
from gateway.settings import Settings


@contextmanager
def place(settings: Settings, here: bool) -> Iterator[Settings]:
    """The settings as they are if `here`, or with a home and a database that vanish afterwards."""
    if here:
        yield settings
        return
    with tempfile.TemporaryDirectory(prefix="palimpsest-bench-") as folder:
        home = Path(folder)
        try:
            yield replace(settings, home=home, keys=home / "keys", database=None)
        finally:
            found = find_place(home)
            if not found.folder.is_relative_to(home):  # as root the data lie where another account can reach them
                shutil.rmtree(found.folder, ignore_errors=True)


def environ_of(settings: Settings) -> dict[str, str]:
    """This process's environment for another that is to use the place of these settings."""
    names = ("PALIMPSEST_DATABASE_URL", "PALIMPSEST_READER_URL", "PALIMPSEST_OWNER_URL")
    kept = {name: text for name, text in os.environ.items() if settings.database is not None or name not in names}
    return kept | {"PALIMPSEST_HOME": str(settings.home), "PALIMPSEST_KEYS": str(settings.keys)}
