"""Short tables in the order that an address asks for, by the columns that their page permits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gateway.errors import BadRequest
from gateway.ui.rendering import Here

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Columns(Generic[R]):
    """What a table may be sorted by: the key of a row under each column's name. Parameters are as `ui.sort` writes them."""

    keys: Mapping[str, Callable[[R], Any]]

    def sorted(self, rows: Iterable[R], here: Here) -> list[R]:
        """The rows in the order that is asked for, as they came if none is. Raises BadRequest for another column."""
        name = here.get("sort")
        if not name:
            return list(rows)
        if name not in self.keys:
            raise BadRequest("This table is not sorted by such a column.", param="sort")
        return sorted(rows, key=self.keys[name], reverse=here.get("order") != "up")
