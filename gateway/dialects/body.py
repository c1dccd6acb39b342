"""From the bytes of a POST body to typed fields, or to one `BadRequest` that says where it is wrong. For every dialect."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from gateway.errors import BadRequest

T = TypeVar("T")

VALUES_MOST: Final = 100_000
"""Values in a body; the parser lets nothing else run meanwhile, and so many take it about ten milliseconds."""
_MARKS: Final = (b",", b"[", b"{")
_PLACE: Final = " - at `$"
_KEY: Final = re.compile(r"`(?P<key>[^`]+)`")


def text_of(body: bytes) -> str:
    """The body as text; the parser does not look into the fields that it skips, so this comes before it. Raises BadRequest."""
    if _has_too_many(body):
        raise BadRequest(f"the body holds more than {VALUES_MOST} values: send fewer messages, parts or tools", code="too_many")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {error.reason} at byte {error.start}", code="invalid_json") from error


def _has_too_many(body: bytes) -> bool:
    """Whether a JSON text holds more values than may be read at once, by the marks before values outside its strings."""
    if sum(map(body.count, _MARKS)) <= VALUES_MOST:
        return False
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    found = start = 0
    while found <= VALUES_MOST:
        end = plain.find(b'"', start)
        found += sum(plain.count(mark, start, end if end >= 0 else None) for mark in _MARKS)
        start = plain.find(b'"', end + 1) + 1
        if end < 0 or start == 0:
            return found > VALUES_MOST
    return True


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
