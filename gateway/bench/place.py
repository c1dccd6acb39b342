"""Where a benchmark has its database: a throwaway embedded PostgreSQL with every durability on, or the configured one.

A throwaway log ships nothing: its trees have nothing to do with those that are kept under the same name outside.
"""

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
            yield replace(settings, home=home, keys=home / "keys", database=None, ship_to=(), witnesses=(), webhooks=())
        finally:
            found = find_place(home)
            for made in (found.folder, found.socket):  # as root the data lie where another account can reach them
                if not made.is_relative_to(home):  # and as anybody else the socket where its path is short
                    shutil.rmtree(made, ignore_errors=True)


def environ_of(settings: Settings) -> dict[str, str]:
    """This process's environment for another that is to use the place of these settings."""
    names = {
        "PALIMPSEST_DATABASE_URL": settings.database,
        "PALIMPSEST_READER_URL": settings.database,
        "PALIMPSEST_OWNER_URL": settings.database,
        "PALIMPSEST_SHIP_TO": settings.ship_to,
        "PALIMPSEST_WITNESSES": settings.witnesses,
        "PALIMPSEST_WEBHOOKS": settings.webhooks,
    }
    kept = {name: text for name, text in os.environ.items() if name not in names or names[name]}
    return kept | {"PALIMPSEST_HOME": str(settings.home), "PALIMPSEST_KEYS": str(settings.keys)}
