"""Liveness says that the process answers; readiness says that it could serve and record a request now."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get

from gateway.house import House


@get("/health/live", sync_to_thread=False)
def live() -> Response[bytes]:
    """Always 200 while the process answers."""
    return Response(msgspec.json.encode({"status": "ok"}), media_type="application/json")


@get("/health/ready")
async def ready(house: House) -> Response[bytes]:
    """200 if log, keys and engine can serve; 503 with the parts that cannot."""
    parts = await house.check()
    good = all(parts.values())
    body: dict[str, Any] = {
        "status": "ok" if good else "unavailable",
        "parts": {name: "ok" if up else "down" for name, up in parts.items()},
    }
    return Response(msgspec.json.encode(body), status_code=200 if good else 503, media_type="application/json")
