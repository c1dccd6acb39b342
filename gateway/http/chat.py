"""POST /v1/chat/completions and /v1/completions: OpenAI's two older dialects.

A status is chosen by what clients of these dialects do with it: they show a 400 once, and ask again and again after a 403, a
409 or a 5xx; after a 429 they wait in silence for as long as it says, and be it a day. So whatever asking again cannot mend
soon is a 400.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from litestar import Request, Response, post
from litestar.di import NamedDependency

from gateway.dialects import openai_chat, openai_completions
from gateway.dialects.openai_choice import Choice, PlainChoice
from gateway.dialects.openai_reply import CompletionEnvelope, Envelope
from gateway.errors import GatewayError, OverBudget, Refused
from gateway.house import House
from gateway.http.choices import Wire, respond
from gateway.http.failures import of_gateway
from gateway.http.line import BODY_LIMIT

CHAT: Final = Wire(openai_chat.decode, Choice, Envelope)
COMPLETIONS: Final = Wire(openai_completions.decode, PlainChoice, CompletionEnvelope)
FINAL: Final = (402, 403, 409, 422, 451)
"""Statuses of refusals that clients of these dialects would answer with the same request."""


def _of_refusal(request: Request[Any, Any, Any], error: Refused) -> Response[bytes]:
    return _told(request, error, final=error.status in FINAL)


def _of_budget(request: Request[Any, Any, Any], error: OverBudget) -> Response[bytes]:
    return _told(request, error, final=error.late)


def _told(request: Request[Any, Any, Any], error: GatewayError, *, final: bool) -> Response[bytes]:
    told = of_gateway(request, error)
    if final:
        told.status_code = 400
    return told


HANDLERS: Final[dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]]] = {
    Refused: _of_refusal,
    OverBudget: _of_budget,
}


@post("/v1/chat/completions", status_code=200, request_max_body_size=BODY_LIMIT, exception_handlers=HANDLERS)
async def chat_completions(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[Any]:
    """Answer a conversation, as a document or as server-sent events."""
    return await respond(CHAT, request, house)


@post("/v1/completions", status_code=200, request_max_body_size=BODY_LIMIT, exception_handlers=HANDLERS)
async def completions(request: Request[Any, Any, Any], house: NamedDependency[House]) -> Response[Any]:
    """Go on with a text, as a document or as server-sent events."""
    return await respond(COMPLETIONS, request, house)
