"""What a form sent: texts by name, bounded, without surprises.

The framework would keep the thousand forms that it read last, passwords and all, and would read any number of fields; so we
read them ourselves, once for each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from litestar import Request
from litestar.enums import RequestEncodingType

from gateway.errors import BadRequest

LONGEST: Final = 4096
"""Characters of a field, unless the form says otherwise."""
FIELDS_MOST: Final = 200
SMALL: Final = 16 * 1024
"""Bytes of a form that anybody may send, and of one that is read without a thread."""
_READ: Final = "ui_form"


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a form. Passwords are among them, so it is never shown or logged whole."""

    one: Mapping[str, str] = field(repr=False)
    many: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def text(self, name: str, longest: int = LONGEST) -> str:
        """A field, empty if it is not there. Raises BadRequest for one that is too long."""
        found = self.one.get(name, "")
        if len(found) > longest:
            raise BadRequest(f"the field {name} is over {longest} characters", param=name)
        return found

    def texts(self, name: str) -> Sequence[str]:
        """All values of a field that may come several times."""
        return self.many.get(name, ())

    def identity(self, name: str) -> UUID:
        """A field that holds an id. Raises BadRequest."""
        try:
            return UUID(self.text(name))
        except ValueError as error:
            raise BadRequest(f"the field {name} is no id", param=name) from error

    def whole(self, name: str, least: int, most: int) -> int | None:
        """A whole number, None for an empty field. Raises BadRequest."""
        text = self.text(name).strip()
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise BadRequest(f"the field {name} is a whole number from {least} to {most}", param=name)
        return int(text)


async def fields_of(request: Request[Any, Any, Any]) -> Fields:
    """The form of a request, empty for any other body. Raises BadRequest for one that no page of ours sends."""
    state = request.scope["state"]
    if _READ not in state:
        state[_READ] = await _sent(request)
    found: Fields = state[_READ]
    return found


async def _sent(request: Request[Any, Any, Any]) -> Fields:
    if request.content_type[0] != RequestEncodingType.URL_ENCODED:
        return Fields({})
    body = await request.body()
    return _read(body) if len(body) <= SMALL else await asyncio.to_thread(_read, body)


def _read(body: bytes) -> Fields:
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_MOST)
    except ValueError as error:
        raise BadRequest(f"a form has at most {FIELDS_MOST} fields") from error
    refuse_nul(pairs)
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    return Fields(dict(pairs), many)


def refuse_nul(pairs: Iterable[tuple[str, str]]) -> None:
    """Raise BadRequest for a NUL, which no text of the database can hold."""
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise BadRequest("a field holds a NUL character")
