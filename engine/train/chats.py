"""A person's own conversations: one JSON object a line, `{"messages": [...], "tools": [...]}`, as chat endpoints take them.

Every answer, a call of a tool too, becomes a row of its own, with all that was said before it as its prompt. Both are printed
by the checkpoint's own chat template, so a prompt is what the model will be given. A line that cannot be used stops
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

from engine.chat_template import ChatTemplate
from engine.errors import InvalidRequest
from engine.train.corpus import Example
from engine.train.messages import Conversation, Role, read_json

LONGEST_LINE = 16 * 1024 * 1024
MOST_LINES = 10_000_000


class DataError(Exception):
    """Training data cannot be used; the message names file, line and reason."""


@dataclass(frozen=True, slots=True)
class _Row:
    ids: array[int]
    prompt_length: int


class Chats:
    """All answers of a file, in an order that is drawn anew for every pass over them."""

    def __init__(self, path: Path, template: ChatTemplate, context: int, seed: int) -> None:
        """Read and check the whole file; no row may have more than `context` tokens. Raises DataError."""
        self._seed, self._rows = seed, list(_rows(path, template, context))
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


def _rows(path: Path, template: ChatTemplate, context: int) -> Iterator[_Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            yield from _answers(Conversation.of(read_json(line)), template, context)
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


def _answers(told: Conversation, template: ChatTemplate, context: int) -> Iterator[_Row]:
    """A row for each answer. Raises ValueError if one is too long, InvalidRequest for what the template does not print."""
    if told.tools and template.call_form is None:
        raise ValueError("this checkpoint's chat template knows no tools")
    for index, turn in enumerate(told.turns):
        if turn["role"] != Role.ASSISTANT:
            continue
        prompt, answer = template.answered(told.turns[: index + 1], told.tools)
        if (tokens := len(prompt) + len(answer)) > context:
            raise ValueError(f"up to messages[{index}] it has {tokens} tokens, more than the {context} that are allowed")
        yield _Row(array("i", (*prompt, *answer)), len(prompt))
