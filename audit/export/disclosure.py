"""Whose bodies a bundle opens: what is asked for, and the keys that answer it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import TypeAlias
from uuid import UUID

from audit.errors import KeyUnavailable
from audit.header import Header
from audit.keys import KeyStore
from audit.sealing import RequestKey, request_key

_KEYS_KEPT = 1024


class Undisclosed(Enum):
    """Why a record's key is not in the bundle: not asked for, or asked for and destroyed."""

    NOT_ASKED = "not asked"
    UNAVAILABLE = "unavailable"


Disclosure: TypeAlias = Callable[[Header], RequestKey | Undisclosed]


def disclose_nothing(_: Header) -> RequestKey | Undisclosed:
    """Prove integrity without showing any content."""
    return Undisclosed.NOT_ASKED


def disclose_all(store: KeyStore) -> Disclosure:
    """Show every record whose month key still exists."""

    def disclose(header: Header) -> RequestKey | Undisclosed:
        try:
            return request_key(store.find(header.key_id).secret, header.scope)
        except KeyUnavailable:
            return Undisclosed.UNAVAILABLE

    return disclose


def disclose_requests(store: KeyStore, requests: frozenset[UUID]) -> Disclosure:
    """Show the given requests (or single records outside a request, such as acts by their record ids) and nothing else."""
    everything = disclose_all(store)
    return lambda header: everything(header) if header.scope in requests else Undisclosed.NOT_ASKED


class Answers:
    """A disclosure that remembers its newest answers: records of one request stand close together."""

    def __init__(self, disclose: Disclosure) -> None:
        self._disclose = disclose
        self._kept = OrderedDict[tuple[UUID, str], RequestKey | Undisclosed]()

    def key(self, header: Header) -> RequestKey | Undisclosed:
        """The key of a record's body, or why there is none."""
        name = (header.scope, header.key_id)
        if name not in self._kept:
            if len(self._kept) == _KEYS_KEPT:
                self._kept.popitem(last=False)
            self._kept[name] = self._disclose(header)
        return self._kept[name]
