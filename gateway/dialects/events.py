"""One server-sent event with a name, as exact bytes: LF only, one line of data."""

from __future__ import annotations

from typing import Any

import msgspec


def event(document: dict[str, Any]) -> bytes:
    """The event whose name is the document's `type`."""
    return b"event: %b\ndata: %b\n\n" % (str(document["type"]).encode(), msgspec.json.encode(document))
