"""What a form sent: texts by name, bounded, without surprises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from litestar import Request

from gateway.errors import BadRequest

LONGEST: Final = 4096
"""Characters of a field, unless the form says otherwise."""


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
    """The form of a request; files are passed over."""
    sent = await request.form()
    pairs = [(name, value) for name, value in sent.multi_items() if isinstance(value, str)]
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    return Fields(dict(pairs), many)
