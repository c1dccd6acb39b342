"""What clients look for besides answers: what is not served here, and a sign of life for Claude Code."""

from __future__ import annotations

from typing import Any

from litestar import HttpMethod, Request, Response, post, route
from litestar.di import NamedDependency

from gateway.authenticate import authenticate
from gateway.errors import BadRequest
from gateway.house import House
from gateway.http import line


@post("/v1/embeddings")
async def embeddings(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[Any]:
    """Always a 400, on record as every refusal: this model answers, it does not embed."""
    subject = await authenticate(house.keyring, request.headers)
    async with line.refusals_on_record(request, house, subject):
        message = "embeddings are not served here: this gateway serves one generative model, see GET /v1/models"
        raise BadRequest(message, code="unsupported_endpoint")


@route("/api/hello", http_method=[HttpMethod.HEAD, HttpMethod.GET], sync_to_thread=False)
def hello() -> Response[bytes]:
    """Claude Code's probe; it says nothing but that somebody is here."""
    return Response(b"", status_code=200)
