"""The two dialects over the wire of a running gateway, for tests that hold for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import httpx

from tests.gateway.dialects.messages_grammar import MessageReader
from tests.gateway.dialects.responses_grammar import ResponseReader
from tests.gateway.served import Served
from tests.plain import PLAIN

Reader = MessageReader | ResponseReader


@dataclass(frozen=True, slots=True)
class Wire:
    """One dialect: where it is asked, how, and who reads its streams."""

    path: str
    prompt: str
    most: str
    reader: type[Reader]

    def body(self, served: Served, question: Any, tokens: int = 8, **more: Any) -> dict[str, Any]:
        """The body of one request; the question is a text, or what the dialect has for turns."""
        turns = [{"role": "user", "content": question}] if isinstance(question, str) else question
        return {"model": served.model, self.prompt: turns, "temperature": 0, self.most: tokens} | more

    def post(self, served: Served, body: Any) -> httpx.Response:
        """One request; the body is a document, or bytes as they stand."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return httpx.post(served.url + self.path, headers=headers(served), timeout=60, trust_env=False, verify=PLAIN, **content)

    @contextmanager
    def stream(self, served: Served, body: dict[str, Any]) -> Iterator[httpx.Response]:
        """A stream that may be left at any time."""
        given = headers(served)
        url = served.url + self.path
        with httpx.stream(
            "POST", url, json=body | {"stream": True}, headers=given, timeout=60, trust_env=False, verify=PLAIN
        ) as answer:
            assert answer.status_code == 200
            yield answer


def headers(served: Served) -> dict[str, str]:
    """A key that counts in every dialect."""
    return {"authorization": f"Bearer {served.key}", "content-type": "application/json"}


def generation_of(answer: httpx.Response) -> UUID:
    """The generation that an answer's headers name."""
    return UUID(answer.headers["x-palimpsest-generation"])


MESSAGES: Final = Wire("/v1/messages", "messages", "max_tokens", MessageReader)
RESPONSES: Final = Wire("/v1/responses", "input", "max_output_tokens", ResponseReader)
WIRES: Final = (MESSAGES, RESPONSES)
