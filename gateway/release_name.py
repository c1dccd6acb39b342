"""Which release of the gateway this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def release_name() -> str:
    """The installed version; "0" where it runs from a source tree that was not installed."""
    try:
        return version("palimpsest")
    except PackageNotFoundError:
        return "0"
