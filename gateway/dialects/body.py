"""From the bytes of a POST body to typed fields, or to one `BadRequest` that says where it is wrong. For every dialect."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from gateway.errors import BadRequest

T = TypeVar("T")

_PLACE: Final = " - at `$"
_KEY: Final = re.compile(r"`(?P<key>[^`]+)`")


def text_of(body: bytes) -> str:
    """The body as text; the parser does not look into the fields that it skips, so this comes before it. Raises BadRequest."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {error.reason} at byte {error.start}", code="invalid_json") from error


def parse(decoder: msgspec.json.Decoder[T], body: str) -> T:
    """The fields that `decoder` knows. Raises BadRequest for what is no JSON, or of the wrong type, with its path."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message, path = _placed(str(error))
        named = _KEY.search(message) if " field " in message else None
        param = ".".join(filter(None, (path, named["key"] if named else ""))) or None
        where = f" at {path!r}" if path else ""
        raise BadRequest(f"{message}{where}", code="invalid_type", param=param) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}", code="invalid_json") from error
    except RecursionError as error:
        raise BadRequest("the body is nested too deeply", code="invalid_json") from error


def _placed(error: str) -> tuple[str, str]:
    """What is wrong and where; the place stands last, whatever the client's own words before it look like."""
    message, found, place = error.rpartition(_PLACE)
    return (message, place.removesuffix("`").removeprefix(".")) if found else (error, "")


def given(value: str | None, path: str) -> str:
    """The text at `path`, which must be there. Raises BadRequest."""
    if value is None:
        raise BadRequest(f"{path} is missing: give a string", code="invalid_type", param=path)
    return value
