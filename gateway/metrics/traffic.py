"""What comes in over HTTP, as the outermost layer sees it: by dialect, by class of status, by the code of a refusal."""

from __future__ import annotations

from typing import Any, Final

from litestar.exceptions import HTTPException
from litestar.types import Scope
from sqlalchemy.exc import SQLAlchemyError

from audit.errors import AuditError
from gateway.dialects.request import Dialect
from gateway.errors import GatewayError, LogDown
from gateway.metrics.counted import Counted
from gateway.metrics.meters import Meters

REFUSAL: Final = "refusal"
"""Where the state of a request keeps the code of its refusal."""
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
PAGE: Final = "page"
_DOORS: Final = (
    ("/v1/chat/completions", Dialect.CHAT.value),
    ("/v1/completions", Dialect.COMPLETIONS.value),
    ("/v1/responses", Dialect.RESPONSES.value),
    ("/v1/messages", Dialect.MESSAGES.value),
    ("/v1/", "v1"),
    ("/api/hello", "probe"),
    ("/api/", "api"),
    ("/log/", "log"),
    ("/health/", "probe"),
    ("/metrics", "probe"),
)


class Traffic:
    """Lives on the event loop."""

    def __init__(self, meters: Meters) -> None:
        self.open = 0
        self.requests = Counted("dialect", "status")
        self.refusals = Counted("dialect", "code")
        self.streams = Counted("dialect")
        self._seconds = meters.seconds(
            "http_request_duration", "From the arrival of a request to the last byte of its answer, of a stream too.", BOUNDS
        )

    def ended(self, dialect: str, status: int, code: str | None, seconds: float) -> None:
        """A request has been answered; a status of 0 is none, since nobody waited for one."""
        self.requests.add(dialect, f"{status // 100}xx" if status else "none")
        if code is not None:
            self.refusals.add(dialect, code)
        self._seconds.record(seconds, {"dialect": dialect})


def dialect_of(path: str) -> str:
    """The dialect of an address, or the other door that it belongs to; whatever a client makes up is a page."""
    return next((door for start, door in _DOORS if path.startswith(start)), PAGE)


async def note_refusal(error: Exception, scope: Scope) -> None:
    """Litestar's hook for whatever ends a request: keep its code, which is one of our own words, for the outermost layer."""
    state: dict[str, Any] = scope["state"]
    state[REFUSAL] = code_of(error)


def code_of(error: Exception) -> str:
    """What went wrong, in one word: nothing of the message, which may quote a client."""
    match error:
        case GatewayError(code=str(code)):
            return code
        case AuditError():
            return LogDown.default_code
        case SQLAlchemyError():
            return "database_unavailable"
        case HTTPException(status_code=status):
            return f"http_{status}"
        case _:
            return "internal_error"
