"""What a request to the API says, read strictly: its query, its body, and the content that it is about."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request

from gateway.api.forms import BYTES_MOST
from gateway.errors import BadRequest, GatewayError

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)
_TAG: Final = re.compile(r'"([0-9a-f]{64})"', re.ASCII)


class NoCondition(GatewayError):
    """A decision that does not say what was looked at."""

    status = 428
    kind = "invalid_request_error"
    default_code = "if_match_required"


class Stale(GatewayError):
    """A decision about another content than the one that waits now."""

    status = 412
    kind = "invalid_request_error"
    default_code = "stale_content"


def query(request: Request[Any, Any, Any], form: type[S]) -> S:
    """The query parameters, those of `form` and no others but `tenant`, each once. Raises BadRequest."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise BadRequest(f"the parameter {name!r} comes twice", param=name)
        if "\0" in value:  # which no text of the database can hold
            raise BadRequest(f"the parameter {name!r} holds a NUL", param=name)
        given[name] = value
    given.pop("tenant", None)
    try:
        return msgspec.convert(given, form, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"a query parameter is wrong: {error}", param=_param(error)) from error


async def body(request: Request[Any, Any, Any], form: type[S]) -> S:
    """The JSON body. Raises BadRequest."""
    try:
        found = msgspec.json.decode(await request.body(), type=form)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise BadRequest(f"the body is not what it should be: {error}") from error
    for name in BYTES_MOST.keys() & set(form.__struct_fields__):
        text = getattr(found, name)
        if isinstance(text, str) and len(text.encode()) > BYTES_MOST[name]:
            raise BadRequest(f"{name} has at most {BYTES_MOST[name]} bytes in UTF-8", param=name)
    return found


def given(value: T | msgspec.UnsetType) -> T | None:
    """What a client gave, None where it gave nothing."""
    return None if isinstance(value, msgspec.UnsetType) else value


def content_looked_at(request: Request[Any, Any, Any]) -> bytes:
    """The SHA-256 that `If-Match: "HEX"` names. Raises NoCondition without one, and Stale for what can be no such hash."""
    given = request.headers.get("if-match", "").strip()
    if not given:
        raise NoCondition('say what you looked at: If-Match: "<SHA-256 of the content in hex>", as the ETag of the approval')
    found = _TAG.fullmatch(given)
    if found is None:
        raise Stale("If-Match names no content that waits here: it is one SHA-256 in hex, in quotes")
    return bytes.fromhex(found[1])


def _param(error: Exception) -> str | None:
    found = re.search(r"`\$\.(\w+)`", str(error))
    return None if found is None else found[1]
