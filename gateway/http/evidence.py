"""A tenant's log as others may check it: C2SP tiles under /log/TENANT, and the proofs of one request's records.

A key opens its own tenant's log and no other. Tiles hold headers and hashes, never content.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from audit.tilelog import CHECKPOINT
from gateway.authenticate import authenticate
from gateway.errors import NotHere
from gateway.evidence import ANCHOR, COSIGNED
from gateway.house import House

_FOREVER: Final = {"cache-control": "private, max-age=31536000, immutable"}
_NEVER: Final = {"cache-control": "no-store"}


@route("/log/{tenant:str}/{path:path}", http_method=["GET", "HEAD"])
async def log_resource(
    request: Request[Any, Any, Any], house: NamedDependency[House], tenant: FromPath[str], path: FromPath[str]
) -> Response[bytes]:
    """The newest checkpoint, a tile or an entry bundle, as C2SP tlog-tiles spells them; `cosigned` is the newest checkpoint
    that a witness has seen, `anchor` what the log of checkpoints says of this log.
    """
    subject = await authenticate(house.keyring, request.headers)
    name = path.removeprefix("/")
    found = None
    if tenant == subject.tenant:
        found = await asyncio.to_thread(house.evidence.resource, tenant, name)
    if found is None:
        raise NotHere("there is no such log, tile or checkpoint for this key")
    if name == ANCHOR:
        return Response(found, media_type="application/json", headers=_NEVER)
    if name in (CHECKPOINT, COSIGNED):
        return Response(found, media_type="text/plain", headers=_NEVER)  # Litestar adds the charset
    return Response(found, media_type="application/octet-stream", headers=_FOREVER)


@route("/api/generations/{generation:uuid}/proof", http_method=["GET", "HEAD"])
async def generation_proof(
    request: Request[Any, Any, Any], house: NamedDependency[House], generation: FromPath[UUID]
) -> Response[bytes]:
    """For each record of a generation its header and tlog-proof, for `python -m audit check`.

    A record of the last second may not be under a checkpoint yet: its proof is null, ask again.
    """
    subject = await authenticate(house.keyring, request.headers)
    found = await asyncio.to_thread(house.evidence.proofs, subject.tenant, generation)
    if not found:
        raise NotHere("this key's tenant has no such generation")
    records = [each.document() for each in found]
    body = {"generation_id": str(generation), "origin": house.origin(subject.tenant), "records": records}
    return Response(msgspec.json.encode(body), media_type="application/json", headers=_NEVER)
