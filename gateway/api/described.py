"""GET /api/openapi.json: what every route takes and gives."""

from __future__ import annotations

from litestar import Response, route

from gateway.api.openapi.document import encoded
from gateway.http.failures import JSON


@route("/openapi.json", http_method=["GET", "HEAD"], sync_to_thread=False)
def openapi() -> Response[bytes]:
    """The description, for anybody: it says nothing about anyone."""
    return Response(encoded(), media_type=JSON, headers={"cache-control": "no-cache"})
