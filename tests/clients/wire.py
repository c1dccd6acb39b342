"""What an exchange must have been: answered with 200, in the grammar of its dialect, and explained by records to its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from audit.approvals import Approval, ApprovedDelivery
from audit.records import RequestClose
from tests.clients.recorder import Exchange
from tests.gateway.chat_stream import ChatStream
from tests.gateway.dialects.messages_grammar import MessageReader
from tests.gateway.dialects.responses_grammar import ResponseReader
from tests.gateway.served import Served


class Reader(Protocol):
    """A strict parser of one dialect's streams; raises AssertionError at what no client may be left to guess."""

    def feed(self, data: bytes) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Numbered:
    """The parsers whose last word is `finish`."""

    inner: MessageReader | ResponseReader

    def feed(self, data: bytes) -> None:
        self.inner.feed(data)

    def end(self) -> None:
        self.inner.finish()


def _chat(asked: dict[str, Any]) -> Reader:
    return ChatStream(usage=bool((asked.get("stream_options") or {}).get("include_usage")), choices=asked.get("n") or 1)


READERS: Final[dict[str, Callable[[dict[str, Any]], Reader]]] = {
    "/v1/chat/completions": _chat,
    "/v1/messages": lambda _: _Numbered(MessageReader()),
    "/v1/responses": lambda _: _Numbered(ResponseReader()),
}


def faults(exchange: Exchange) -> Iterator[str]:
    """What is wrong with it on the wire."""
    where = f"{exchange.method} {exchange.path}"
    if exchange.status != 200:
        yield f"{where} was answered with {exchange.status}: {exchange.answer[:300]!r}"
    elif exchange.streamed:
        reader = READERS[exchange.place](json.loads(exchange.asked))
        try:
            for piece in exchange.pieces:
                reader.feed(piece)
            if not exchange.left:
                reader.end()
        except AssertionError as error:
            yield f"{where} breaks the grammar of its stream: {error}"
    elif exchange.method != "HEAD" and not isinstance(json.loads(exchange.answer), dict):
        yield f"{where} was answered with no JSON object"


def generation_of(exchange: Exchange) -> UUID | None:
    """The generation that answered, if one did."""
    named = exchange.headers.get("x-palimpsest-generation")
    return None if named is None else UUID(named)


def unexplained(served: Served, exchange: Exchange) -> Iterator[str]:
    """What its records lack: an end, those that the answer announced, and of a held answer the delivery after an approval."""
    generation = generation_of(exchange)
    if generation is None:
        return
    bodies = served.log.bodies(generation)
    decided = [body for body in bodies if isinstance(body, Approval)]
    if not any(isinstance(body, RequestClose) for body in bodies):
        yield f"generation {generation} has {len(bodies)} records and no end"
    elif decided and not isinstance(decided[-1], ApprovedDelivery):
        yield f"generation {generation} was held, and its last record is no delivery after an approval"
    elif not decided and not exchange.left and f'"records":{len(bodies)}'.encode() not in exchange.answer:
        yield f"generation {generation}: its answer does not announce the {len(bodies)} records that are stored"
