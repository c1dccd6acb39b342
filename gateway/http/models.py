"""GET /v1/models: the served model, once by its name and once for each mode that the policy permits.

The shape is the union that clients of several dialects read: OpenAI's list plus `display_name`, `lifecycle`, `type`,
`created_at` and `has_more`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.authenticate import authenticate
from gateway.errors import UnknownModel
from gateway.house import House


@route("/v1/models", http_method=["GET", "HEAD"])
async def list_models(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[bytes]:
    """All model ids that this key may ask for."""
    subject = await authenticate(house.keyring, request.headers)
    data = [_line(house, name) for name in house.model_ids(subject.tenant)]
    body = {"object": "list", "data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}
    return Response(msgspec.json.encode(body), media_type="application/json")


@route("/v1/models/{model_id:str}", http_method=["GET", "HEAD"])
async def show_model(
    request: Request[Any, Any, Any], house: NamedDependency[House], model_id: FromPath[str]
) -> Response[bytes]:
    """One model id."""
    subject = await authenticate(house.keyring, request.headers)
    if model_id not in house.model_ids(subject.tenant):
        raise UnknownModel(f"model {model_id!r} is not served here; GET /v1/models lists what is", param="model")
    return Response(msgspec.json.encode(_line(house, model_id)), media_type="application/json")


def _line(house: House, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": house.started,
        "owned_by": "palimpsest",
        "type": "model",
        "display_name": name,
        "lifecycle": "active",
        "created_at": datetime.fromtimestamp(house.started, UTC).isoformat().replace("+00:00", "Z"),
    }
