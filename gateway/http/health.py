"""Liveness says that the process answers; readiness says that it could serve and record a request now."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, route
from litestar.di import NamedDependency

from gateway.errors import RETRY_LATER
from gateway.house import House


@route("/health/live", http_method=["GET", "HEAD"], sync_to_thread=False)
def live() -> Response[bytes]:
    """Always 200 while the process answers."""
    return Response(msgspec.json.encode({"status": "ok"}), media_type="application/json")


@route("/health/ready", http_method=["GET", "HEAD"])
async def ready(house: NamedDependency[House]) -> Response[bytes]:
    """200 if log, database, keys and engine can serve; 503 with the parts that cannot, and when to ask again."""
    parts = await house.check()
    good = all(parts.values())
    body: dict[str, Any] = {
        "status": "ok" if good else "unavailable",
        "parts": {name: "ok" if up else "down" for name, up in parts.items()},
    }
    status, headers = (200, {}) if good else (503, RETRY_LATER)
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json", headers=headers)
