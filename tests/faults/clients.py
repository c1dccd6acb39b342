"""Clients of a gateway under fire, and what each of them was told, event by event."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx

from tests.gateway.served import Served
from tests.plain import PLAIN

HELLO = [{"role": "user", "content": "Define `pick`: from a list of integers, keep the even ones."}]
MODES = ("ar", "linear_spec", "quadratic_spec", "diffusion")
LENGTHS = (24, 120, 3000)
PACE = 60
"""Characters after which a client looks up, to see whether it is to leave."""


@dataclass(slots=True)
class Told:
    """What a client has received of one answer: its text, and the last event's account of itself or its error."""

    generation: UUID
    text: str = ""
    account: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    done: bool = False

    def hear(self, line: str) -> None:
        """Take one line of the stream."""
        if line == "data: [DONE]":
            self.done = True
        elif line:
            event = json.loads(line.removeprefix("data: "))
            self.error = event.get("error")
            self.account = event.get("palimpsest", self.account)
            if self.error is None:
                self.text += event["choices"][0]["delta"].get("content", "")


class Streamed(Told):
    """An answer that is still arriving."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(UUID(answer.headers["x-palimpsest-generation"]))
        self._lines = answer.iter_lines()
        self.over = False

    def read(self, characters: int) -> None:
        """Take events until so much text is there or the stream is over; a broken connection raises httpx's error."""
        for line in self._lines:
            self.hear(line)
            if len(self.text) >= characters:
                return
        self.over = True


@contextmanager
def asking(served: Served, mode: str, max_tokens: int) -> Iterator[httpx.Response]:
    """A streamed answer whose head has come; its status may be any."""
    body = {"model": f"{served.model}:{mode}", "messages": HELLO, "stream": True, "temperature": 0}
    body |= {"max_tokens": max_tokens}
    headers = {"authorization": f"Bearer {served.key}"}
    url = f"{served.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60, trust_env=False, verify=PLAIN) as answer:
        yield answer


@contextmanager
def streaming(served: Served, mode: str, max_tokens: int = 3000) -> Iterator[Streamed]:
    """A long answer on its way, with its first text received."""
    with asking(served, mode, max_tokens) as answer:
        streamed = Streamed(answer)
        streamed.read(200)
        assert not streamed.done
        yield streamed


@dataclass(slots=True)
class Crowd:
    """Clients that ask one thing after another, each in a thread of its own, until the gateway is gone or `leave()`.

    Every mode is asked for, in answers that are short, middling and longer than anyone waits; who leaves hangs up.
    """

    served: Served
    size: int
    seed: int
    told: list[Told] = field(default_factory=list)
    refused: int = 0
    """Answers that were an error from the start."""
    _leaving: threading.Event = field(default_factory=threading.Event)
    _speaking: threading.Event = field(default_factory=threading.Event)
    _clients: list[Future[None]] = field(default_factory=list)

    def __enter__(self) -> Self:
        pool = ThreadPoolExecutor(self.size)
        self._clients = [pool.submit(self._ask_on, number) for number in range(self.size)]
        pool.shutdown(wait=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.leave()

    def await_text(self, seconds: float) -> None:
        """Return when somebody has received text; raises TimeoutError."""
        if not self._speaking.wait(seconds):
            raise TimeoutError(f"no client had received any text after {seconds:g} s")

    def leave(self) -> None:
        """Everybody hangs up and goes; raises what a client ran into that no crash explains."""
        self._leaving.set()
        for client in self._clients:
            client.result()

    def _ask_on(self, number: int) -> None:
        random = Random(f"{self.seed} {number}")
        modes = random.sample(MODES, len(MODES))
        turn = 0
        try:
            while not self._leaving.is_set():
                self._ask(modes[turn % len(modes)], random.choice(LENGTHS))
                turn += 1
        except httpx.TransportError:
            return  # the gateway is gone; what was received stays received

    def _ask(self, mode: str, max_tokens: int) -> None:
        with asking(self.served, mode, max_tokens) as answer:
            if answer.status_code != 200:
                self.refused += 1
                self._leaving.wait(0.1)
                return
            streamed = Streamed(answer)
            self.told.append(streamed)
            while not streamed.over and not self._leaving.is_set():
                streamed.read(len(streamed.text) + PACE)
                if streamed.text:
                    self._speaking.set()
