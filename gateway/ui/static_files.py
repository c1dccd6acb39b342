"""The files that pages load: stylesheet, scripts, icon. A closed set, read once; its addresses change with its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from litestar import Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Litestar adds the charset to those of text."""
_FOREVER: Final = {"cache-control": "public, max-age=31536000, immutable"}
_ASK_AGAIN: Final = {"cache-control": "no-cache"}


@dataclass(frozen=True, slots=True)
class File:
    """One file; `version` is of its content."""

    content: bytes
    media_type: str
    version: str


def _read(path: Path) -> File:
    content = path.read_bytes()
    return File(content, TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:12])


FILES: Final = {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}


def address(name: str) -> str:
    """Where a page finds the file as it is in this release. Raises KeyError for one that is not there."""
    return f"/static/{name}?v={FILES[name].version}"


@route("/static/{name:str}", http_method=["GET", "HEAD"], sync_to_thread=False)
def static_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A file, kept for ever by whoever named its version."""
    found = FILES.get(name)
    if found is None:
        raise NotFoundException(detail="there is no such file")
    kept = request.query_params.get("v") == found.version
    return Response(found.content, media_type=found.media_type, headers=_FOREVER if kept else _ASK_AGAIN)
