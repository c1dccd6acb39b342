"""GET /metrics: this process in numbers, for whoever has the operator's token. Without one set, nothing is here."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any, Final

from litestar import Request, Response, route
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException

from gateway.authenticate import bearer_of
from gateway.house import House

FORM: Final = "text/plain; version=0.0.4"  # Litestar adds the charset


@route("/metrics", http_method=["GET", "HEAD"])
async def metrics(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[bytes]:
    """All numbers in Prometheus' text form; a wrong token is told nothing."""
    token = house.settings.metrics_token
    if not token:
        raise NotFoundException
    given = bearer_of(request.headers) or ""
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode()):
        house.keyring.refused.add("metrics_token")
        return Response(b"", status_code=401, media_type="text/plain", headers={"www-authenticate": "Bearer"})
    await house.held.look()
    return Response(await asyncio.to_thread(house.numbers.meters.text), media_type=FORM)
