"""One request to an ASGI application by hand: a client that reads slowly or not at all, or leaves at some moment."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from litestar.types import ASGIApp


@dataclass
class Reader:
    """Takes an answer piece by piece; leaves after `leaves_after` pieces, and takes `seconds` for each.

    After 0 pieces it leaves when the answer's status is there, after -1 as soon as its request was read, after -2 within its
    request. A `stuck` one takes nothing more while it leaves.
    """

    leaves_after: int | None = None
    seconds: float = 0.0
    stuck: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)

    async def ask(self, app: ASGIApp, path: str, body: Any, key: str) -> None:
        """Post `body` (bytes as they are, or a document) and read until the answer ends or this client leaves."""
        gone = self.gone
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        requests = [{"type": "http.request", "body": data, "more_body": self.leaves_after == -2}]

        async def receive() -> Any:
            if requests:
                if self.leaves_after in (-1, -2):
                    gone.set()
                return requests.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
                if self.leaves_after == 0:
                    gone.set()
            elif message.get("body") and not gone.is_set():
                self.pieces.append(message["body"])
                if self.leaves_after == len(self.pieces):
                    gone.set()
                    if self.stuck:
                        await asyncio.Event().wait()
                await asyncio.sleep(self.seconds)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                gone.set()  # as servers do: behind the answer there is nothing to receive but the end

        await app(_scope(path, key, len(data)), receive, send)  # type: ignore[arg-type]

    @property
    def data(self) -> bytes:
        """All that was read."""
        return b"".join(self.pieces)


def _scope(path: str, key: str, size: int) -> dict[str, Any]:
    told = {"host": "housed", "authorization": f"Bearer {key}", "content-length": str(size), "content-type": "application/json"}
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1), "server": ("housed", 80),
        "headers": [(name.encode(), value.encode()) for name, value in told.items()],
    }  # fmt: skip
