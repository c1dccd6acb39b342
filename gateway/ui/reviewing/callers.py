"""Who asked, in words: records name a key by its id, people know it by its label."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.registry import KeyLine, Registry
from gateway.review.marks import on_a_line
from gateway.ui.words import short

FRESH_SECONDS: Final = 30.0
_LABEL_MOST: Final = 60


@dataclass(frozen=True, slots=True)
class Callers:
    """The keys of one tenant by their ids."""

    keys: Mapping[str, KeyLine]

    def called(self, name: str) -> str:
        """A key by its label, with the beginning and the end of its id; anybody else as the records have them."""
        key = self.keys.get(name)
        if key is not None:
            return f"{_label(key) or 'key'} ({short(name)})"
        return f"key {short(name)}" if _is_id(name) else name

    def brief(self, name: str) -> str:
        """The same, for a list."""
        key = self.keys.get(name)
        return (_label(key) if key is not None else "") or self.called(name)


class CallerBook:
    """The keys of tenants, looked up again when they are half a minute old."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, tuple[float, Callers]] = {}

    async def of(self, tenant: str) -> Callers:
        """The callers of a tenant. Raises what the database raises."""
        at, callers = self._known.get(tenant, (0.0, None))
        if callers is None or time.monotonic() - at > FRESH_SECONDS:
            keys = await asyncio.to_thread(self._registry.keys, tenant)
            callers = Callers({str(key.id): key for key in keys})
            self._known[tenant] = (time.monotonic(), callers)
        return callers


def _label(key: KeyLine) -> str:
    return on_a_line(key.label).strip()[:_LABEL_MOST]


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
