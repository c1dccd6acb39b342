"""Where a person goes after signing in: back to the page that was asked for, and never to another site."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

HOME: Final = "/"
_LONGEST: Final = 2048
_ENTRANCE: Final = ("/sign-in", "/sign-out")


def onward(wanted: str) -> str:
    """The path and query of `wanted` if a browser would stay at this origin with it; else the first page."""
    if not wanted.startswith("/") or len(wanted) > _LONGEST or not wanted.isascii() or not wanted.isprintable():
        return HOME
    # Browsers read a backslash as a slash, and two slashes at the front as another host.
    if "\\" in wanted or wanted.startswith("//"):
        return HOME
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return HOME
    if parts.scheme or parts.netloc or parts.path.startswith(_ENTRANCE):
        return HOME
    return wanted
