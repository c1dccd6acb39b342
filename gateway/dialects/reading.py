"""From the released text of one answer to its parts, by what was asked: which tools, how many calls, thinking or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from engine.model.checkpoint import LoadedModel
from gateway.calls import AnswerReader, Part
from gateway.dialects.prompt import thinks
from gateway.dialects.request import Conversation, PlainPrompt
from gateway.pieces import Ended, Failed, Piece, Text


def reader_of(model: LoadedModel, prompt: Conversation, prefix: str) -> AnswerReader:
    """A reader for one answer to `prompt`; its calls are named `prefix` and their number."""
    most = None if prompt.parallel else 1
    return AnswerReader(prompt.callable, prefix, thinking=thinks(model, prompt), most=most)


def answer_reader(model: LoadedModel, prompt: Conversation | PlainPrompt, prefix: str, *, constrained: bool) -> AnswerReader:
    """A reader for one answer to `prompt`. A constrained answer does not think: its constraint begins with its first token."""
    asked = prompt if isinstance(prompt, Conversation) else Conversation(())
    return reader_of(model, replace(asked, thinking=asked.thinking and not constrained), prefix)


async def parts(reader: AnswerReader, pieces: AsyncIterator[Piece]) -> AsyncIterator[Part | Ended | Failed]:
    """The parts as they become certain, and the end; what was kept back comes before it."""
    async for piece in pieces:
        if isinstance(piece, Text):
            for part in reader.read(piece.text, piece.scores):
                yield part
        else:
            for part in reader.end():
                yield part
            yield piece
