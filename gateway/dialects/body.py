"""From the bytes of a POST body to typed fields, or to one `BadRequest` that says where it is wrong. For every dialect."""

from __future__ import annotations

import re
from collections.abc import Iterable
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


def check_inner(texts: Iterable[str], param: str) -> None:
    """Arguments of calls are JSON texts that are parsed like the body, so together they may hold as much. Raises BadRequest."""
    found = 0
    for text in texts:
        found += _values(text.encode("utf-8", "replace"), VALUES_MOST - found)
        if found > VALUES_MOST:
            message = f"the arguments of all calls in {param} hold more than {VALUES_MOST} values: send fewer calls"
            raise BadRequest(message, code="too_many", param=param)


def _has_too_many(body: bytes) -> bool:
    """Whether a JSON text holds more values than may be read at once."""
    return _values(body, VALUES_MOST) > VALUES_MOST


def _values(text: bytes, most: int) -> int:
    """The marks before values outside the strings of a JSON text, or some number beyond `most` where there are more."""
    marks = sum(map(text.count, _MARKS))
    if marks <= most:
        return marks
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    # A mark stands before at most a key and a value: with more strings there are too many marks, or it is no JSON.
    if plain.count(b'"') > 2 * (2 * most + 1):
        return most + 1
    outside = b"".join(plain.split(b'"')[::2])
    return sum(map(outside.count, _MARKS))


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
