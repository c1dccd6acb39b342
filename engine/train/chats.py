"""A person's own conversations: one JSON object a line, `{"messages": [{"role": "user", "content": "..."}, ...]}`.

Every answer becomes a row of its own, with all that was said before it as its prompt. A line that cannot be used stops
everything: the error names file, line and reason, since a silently dropped conversation is never missed.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from engine.errors import InvalidRequest
from engine.tokenizer import Message, Role, Tokenizer
from engine.train.corpus import Example

LONGEST_LINE = 16 * 1024 * 1024
MOST_LINES = 10_000_000
_FIELDS = {"role", "content"}
_UNRENDERED = ("tools", "functions")


class DataError(Exception):
    """Training data cannot be used; the message names file, line and reason."""


@dataclass(frozen=True, slots=True)
class _Row:
    ids: array[int]
    prompt_length: int


class Chats:
    """All answers of a file, in an order that is drawn anew for every pass over them."""

    def __init__(self, path: Path, tokenizer: Tokenizer, context: int, seed: int) -> None:
        """Read and check the whole file; no row may have more than `context` tokens. Raises DataError."""
        self._seed, self._rows = seed, list(_rows(path, tokenizer, context))
        if not self._rows:
            raise DataError(f"{path}: there is no conversation in it")
        self._epoch, self._order = -1, list[int]()

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, index: int) -> Example:
        """Row `index` of an endless training: every pass holds every row once."""
        epoch, place = divmod(index, len(self._rows))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, list(range(len(self._rows)))
            Random(f"chats:{self._seed}:{epoch}").shuffle(self._order)
        row = self._rows[self._order[place]]
        return Example(tuple(row.ids), row.prompt_length)


def file_digest(path: Path) -> str:
    """SHA-256 in hex of a data file. Raises DataError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: it cannot be read ({error.strerror})") from error


def _rows(path: Path, tokenizer: Tokenizer, context: int) -> Iterator[_Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            yield from _answers(_messages(json.loads(line)), tokenizer, context)
        except (InvalidRequest, RecursionError, ValueError) as error:
            reason = f"it is not JSON ({error})" if isinstance(error, json.JSONDecodeError) else str(error)
            raise DataError(f"{path}:{number}: {reason}") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1 on, none longer than the limit."""
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE or number > MOST_LINES:
                    raise DataError(f"{path}:{number}: a line may have {LONGEST_LINE} bytes, a file {MOST_LINES} lines")
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(f"{path}:{number}: it is not UTF-8 text") from error
    except OSError as error:
        raise DataError(f"{path}: it cannot be read ({error.strerror})") from error


def _messages(document: Any) -> list[Message]:
    """The conversation of one line. Raises ValueError with the reason why there is none."""
    if not isinstance(document, dict) or not isinstance(document.get("messages"), list):
        raise ValueError('it must be an object with a list "messages"')
    if any(document.get(name) for name in _UNRENDERED):
        raise ValueError("tools are not rendered here: write them into the system message as the model reads them")
    messages = [_message(given, index) for index, given in enumerate(document["messages"])]
    spoken = [message.role for message in messages]
    if spoken[:1] == [Role.SYSTEM]:
        spoken = spoken[1:]
    if not spoken or spoken != [Role.USER, Role.ASSISTANT] * (len(spoken) // 2):
        raise ValueError("after an optional system message, user and assistant must take turns and the assistant come last")
    return messages


def _message(given: Any, index: int) -> Message:
    where = f"messages[{index}]"
    if not isinstance(given, dict) or set(given) != _FIELDS:
        raise ValueError(f'{where} must be an object with "role" and "content" and nothing else')
    role, content = given["role"], given["content"]
    if role not in tuple(Role):
        raise ValueError(f"{where} has role {role!r}: it must be one of {', '.join(Role)}")
    if not isinstance(content, str):
        raise ValueError(f"{where} has a content that is not text")
    if role == Role.ASSISTANT and (not content.strip() or "</think>" in content):
        raise ValueError(f"{where} must say something, and only the answer: no thinking")
    return Message(Role(role), content)


def _answers(messages: list[Message], tokenizer: Tokenizer, context: int) -> Iterator[_Row]:
    """A row for each answer. Raises ValueError if one is too long."""
    for index, message in enumerate(messages):
        if message.role is not Role.ASSISTANT:
            continue
        prompt = tokenizer.render_chat(messages[:index])
        ids = (*prompt, *tokenizer.encode(message.content), tokenizer.eos_id)
        if len(ids) > context:
            raise ValueError(f"up to messages[{index}] it has {len(ids)} tokens, more than the {context} that are allowed")
        yield _Row(array("i", ids), len(prompt))
