"""An upstream for somebody else's gateway: an OpenAI-compatible server that replays one recorded answer to whoever asks.

    python -m tests.bench.upstream ANSWERS.json --host 127.0.0.1 --port N

It decodes nothing, decides nothing and records nothing: what a request costs beyond it is the gateway's. A stream has one chunk
for each recorded event with text, as servers of this dialect send them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A recorded answer as bytes: of the whole document, and of each event of the stream."""

    document: bytes
    events: Sequence[bytes]

    @classmethod
    def of(cls, pieces: Sequence[str], prompt_tokens: int, completion_tokens: int) -> Self:
        """The answer that these pieces of text make."""
        head: dict[str, Any] = {"id": "chatcmpl-recorded", "created": 0, "model": "recorded"}
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        usage["total_tokens"] = prompt_tokens + completion_tokens
        message = {"role": "assistant", "content": "".join(pieces)}
        whole = head | {"object": "chat.completion", "usage": usage}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces), {}]
        ends = [None] * (len(deltas) - 1) + ["stop"]
        chunks = [
            head | {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
            for delta, end in zip(deltas, ends, strict=True)
        ]
        events = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
        return cls(json.dumps(whole | {"choices": [choice]}).encode(), [*events, b"data: [DONE]\n\n"])


@dataclass(frozen=True, slots=True)
class Upstream:
    """The ASGI application; what a request names as its model says which answer it gets."""

    answers: Mapping[str, Answer]

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; a path that is not asked with a body is the readiness probe."""
        body = await _body(receive)
        if not body:
            await _whole(send, b"{}")
            return
        asked = json.loads(body)
        answer = self.answers[asked["model"]]
        if not asked.get("stream"):
            await _whole(send, answer.document)
            return
        await _start(send, b"text/event-stream")
        for event in answer.events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _whole(send: Send, document: bytes) -> None:
    await _start(send, b"application/json", (b"content-length", str(len(document)).encode()))
    await send({"type": "http.response.body", "body": document})


async def _start(send: Send, kind: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), *headers]})


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.upstream", description="replays one recorded answer")
    parser.add_argument("answers", type=Path, help='JSON: by model {"pieces", "prompt_tokens", "completion_tokens"}')
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8019)
    given = parser.parse_args()
    answers = json.loads(given.answers.read_text(encoding="utf-8"))
    app: Any = Upstream({model: Answer.of(**told) for model, told in answers.items()})
    uvicorn.run(app, host=given.host, port=given.port, lifespan="off", access_log=False, log_level="error")


if __name__ == "__main__":
    main()
