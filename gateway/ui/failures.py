"""When a page cannot be shown: what happened, what was not done, and what to do next, as a page of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlsplit

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.response import Redirect
from sqlalchemy.exc import SQLAlchemyError

from audit.errors import AuditError
from audit.lifecycle import ActRefused
from gateway import logs
from gateway.errors import GatewayError
from gateway.recall import Unreadable
from gateway.registry import RegistryError
from gateway.ui.door import SignInNeeded
from gateway.ui.rendering import page

Handler = Callable[[Request[Any, Any, Any], Any], Response[Any]]
TITLES: Final = {
    400: "That address is not right",
    401: "Please sign in",
    403: "Not for you",
    404: "Nothing is here",
    405: "Not in this way",
    409: "That was not done",
    410: "This can no longer be read",
    413: "That is too much at once",
    429: "Too soon",
    503: "A part is down",
}
_log = structlog.get_logger(__name__)


def wants_page(request: Request[Any, Any, Any]) -> bool:
    """Whether a person looks at the answer: a browser says so, and no program's door has such pages."""
    path = request.scope["path"]
    return "text/html" in request.headers.get("accept", "") and not path.startswith(("/v1/", "/api/", "/log/"))


def failed(request: Request[Any, Any, Any], status: int, message: str) -> Response[str]:
    """The page of a failure."""
    return page(request, "error.html", status, title=TITLES.get(status, "Something is wrong here"), message=message)


def _of_nobody(request: Request[Any, Any, Any], error: SignInNeeded) -> Response[Any]:
    if request.method != "GET":
        return failed(request, 401, f"Your session has ended. Nothing was done. {error.message}")
    if request.headers.get("hx-request") == "true":
        # A part of a page was asked for: the form in its place would be a page in a page. The whole page goes to sign in.
        answer = failed(request, 401, f"Your session has ended. {error.message}")
        answer.headers["hx-redirect"] = _sign_in(*_page_around(request))
        return answer
    return Redirect(_sign_in(request.url.path, request.url.query), status_code=303)


def _sign_in(path: str, query: str) -> str:
    """Where somebody signs in who is led back to this address."""
    return f"/sign-in?next={quote(path + (f'?{query}' if query else ''))}"


def _page_around(request: Request[Any, Any, Any]) -> tuple[str, str]:
    """Path and query of the page that asks for a part of itself, as htmx says."""
    try:
        parts = urlsplit(request.headers.get("hx-current-url", ""))
    except ValueError:
        return "/", ""
    return parts.path, parts.query


def _of_gateway(request: Request[Any, Any, Any], error: GatewayError) -> Response[Any]:
    answer = failed(request, error.status, error.message)
    answer.headers.update(error.headers())
    return answer


def _of_unreadable(request: Request[Any, Any, Any], error: Unreadable) -> Response[Any]:
    """As the API says it: an erasure is no fault of ours."""
    return failed(request, 410, sentence(error.message))


def _of_registry(request: Request[Any, Any, Any], error: RegistryError) -> Response[Any]:
    return failed(request, 409, sentence(error))


def _of_log(request: Request[Any, Any, Any], error: AuditError) -> Response[Any]:
    if isinstance(error, ActRefused):
        return failed(request, 409, sentence(error))
    logs.unavailable(error)
    return failed(request, 503, "The audit log does not answer, so nothing can be shown or done. Try again in a moment.")


def _of_database(request: Request[Any, Any, Any], error: SQLAlchemyError) -> Response[Any]:
    _log.warning("database.unavailable", error=type(error).__name__)
    return failed(request, 503, "The database does not answer. Nothing was done. Try again in a moment.")


def _of_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    if error.status_code == 404:
        return failed(request, 404, "No page has this address. It may be misspelled, or what it showed is not yours to see.")
    return failed(request, error.status_code, error.detail)


def _of_anything(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    _log.error("page.failed", exc_info=error)
    return failed(request, 500, "This is a fault of ours. Tell an operator the time and what you did.")


def sentence(error: object) -> str:
    """A message of the house as a sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


HANDLERS: Final[dict[int | type[Exception], Handler]] = {
    SignInNeeded: _of_nobody,
    Unreadable: _of_unreadable,
    GatewayError: _of_gateway,
    RegistryError: _of_registry,
    AuditError: _of_log,
    SQLAlchemyError: _of_database,
    HTTPException: _of_framework,
    Exception: _of_anything,
}


def or_page(program: Handler) -> Handler:
    """For addresses that belong to no page: a page for a browser, else what programs are told."""

    def handler(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
        return _of_framework(request, error) if wants_page(request) else program(request, error)

    return handler
