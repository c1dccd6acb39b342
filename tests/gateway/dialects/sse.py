"""Server-sent events as these dialects write them, read strictly and in any pieces."""

from __future__ import annotations

import json
from typing import Any


class GrammarError(AssertionError):
    """A stream that a strict client would not take."""


def need(condition: bool, why: str, *what: object) -> None:
    """Raise unless `condition` holds."""
    if not condition:
        raise GrammarError(f"{why}: {what}")


class Events:
    """Whole events of a byte stream that comes in pieces: `event: NAME`, `data: JSON` and a blank line, LF only."""

    def __init__(self) -> None:
        self._kept = b""
        self.comments = 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The events that are whole once `data` has come; comments are counted and passed over."""
        *whole, self._kept = (self._kept + data).split(b"\n\n")
        return [event for event in map(self._event, whole) if event is not None]

    @property
    def at_rest(self) -> bool:
        """Whether no event is half read."""
        return self._kept == b""

    def _event(self, raw: bytes) -> dict[str, Any] | None:
        need(b"\r" not in raw, "a line ends in LF alone", raw)
        lines = raw.decode().split("\n")
        if lines[0].startswith(":"):
            need(len(lines) == 1, "a comment stands by itself", lines)
            self.comments += 1
            return None
        need(len(lines) == 2, "an event has a name and one line of data", lines)
        need(lines[0].startswith("event: ") and lines[1].startswith("data: "), "fields in their order", lines)
        document: dict[str, Any] = json.loads(lines[1].removeprefix("data: "))
        need(document["type"] == lines[0].removeprefix("event: "), "the name is the type", document)
        return document
