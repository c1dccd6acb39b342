"""Answers that a gate blocks, in both dialects: nothing of them is told, and no client is made to storm."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from engine.gates import Verdict
from engine.request import Mode
from gateway.calls import AnswerReader, Part
from gateway.dialects.messages.reply import MessageReply
from gateway.dialects.reading import parts
from gateway.dialects.responses.document import Head
from gateway.dialects.responses.narrator import Narrator
from gateway.dialects.responses.wire import Body
from gateway.errors import Withheld
from gateway.http import messages, responses
from gateway.pieces import Ended, Failed, Held, Piece
from tests.engine.harness import asked
from tests.gateway.dialects.messages_grammar import MessageReader
from tests.gateway.dialects.responses_grammar import ResponseReader
from tests.gateway.generating import Running, generating
from tests.gateway.tenant_log import TenantLog
from tests.gateway.test_gated import PROMPT, gate


def told(run: Running) -> AsyncIterator[Part | Ended | Failed]:
    """What a handler gets of a generation."""
    return parts(AnswerReader((), "call_"), unheld(run))


async def unheld(run: Running) -> AsyncIterator[Piece]:
    """The pieces of an answer that nobody has to decide about."""
    async for piece in run.generation.outlet.pieces():
        assert not isinstance(piece, Held)
        yield piece


async def test_a_message_ends_as_a_refusal(log: TenantLog) -> None:
    """Streamed or whole, it is the gateway's words and a refusal, and marked as such."""
    request = asked(Mode.AR, PROMPT, 40, temperature=1.0, gate=gate(Verdict.ACCEPT, Verdict.BLOCK))
    async with log.writing() as writer, generating(request, writer) as run:
        reader = MessageReader()
        async for data in messages._events(MessageReply(request.id, "random", 3), told(run)):
            reader.feed(data)
        reader.finish()
        run.generation._release.fail(Withheld("again", code="answer_blocked"))
        whole, headers = await messages._whole(MessageReply(request.id, "random", 3), told(run))
    assert json.loads(whole)["stop_reason"] == "refusal" and headers == {"x-palimpsest-author": "gateway"}
    assert reader.delta is not None and reader.delta["delta"]["stop_reason"] == "refusal"
    assert reader.delta["palimpsest"]["code"] == "answer_blocked" and "policy" in reader.text


async def test_a_response_fails_for_good(log: TenantLog) -> None:
    """In a stream it fails with invalid_prompt, at which Codex does not ask again, and without an item."""
    request = asked(Mode.AR, PROMPT, 40, temperature=1.0, gate=gate(Verdict.ACCEPT, Verdict.BLOCK))
    narrator = Narrator(Head(request.id, "ar", "ab" * 32, Body(model="random", input="hi")))
    async with log.writing() as writer, generating(request, writer) as run:
        reader = ResponseReader()
        async for data in responses._after(-1, responses._told(narrator, told(run))):
            reader.feed(data)
    reader.finish()
    assert reader.response is not None and reader.items == []
    assert (reader.response["status"], reader.response["error"]["code"]) == ("failed", "invalid_prompt")
