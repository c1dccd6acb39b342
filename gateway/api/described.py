"""GET /api/openapi.json: what every route takes and gives."""

from __future__ import annotations

from litestar import Response, get

from gateway.api.openapi.document import encoded
from gateway.http.failures import JSON


@get("/openapi.json", sync_to_thread=False)
def openapi() -> Response[bytes]:
    """The description, for anybody: it says nothing about anyone."""
    return Response(encoded(), media_type=JSON, headers={"cache-control": "no-cache"})
