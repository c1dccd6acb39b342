"""How the API answers: JSON that nobody keeps, and errors in the shape that every client of this gateway reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import Unavailable
from gateway.http import failures

NEVER: Final = {"cache-control": "no-store"}
_log = structlog.get_logger(__name__)


def answer(document: msgspec.Struct, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A document."""
    return Response(msgspec.json.encode(document), media_type=failures.JSON, headers=NEVER | (headers or {}))


def _of_database(request: Request[Any, Any, Any], error: SQLAlchemyError) -> Response[bytes]:
    _log.warning("database.unavailable", error=type(error).__name__)
    return failures.of_gateway(request, Unavailable("the database does not answer; try again", code="database_unavailable"))


HANDLERS: Final[dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]]] = {
    **failures.HANDLERS,
    SQLAlchemyError: _of_database,
}
