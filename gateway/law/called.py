"""The tools that an answer calls, as the judge may know them: read from its text as the client's dialect reads it."""

from __future__ import annotations

from itertools import pairwise

import policies
from gateway.calls import AnswerReader, CallArguments, CallBegun


def calls_read(reader: AnswerReader, text: str) -> tuple[policies.ToolCall, ...]:
    """The calls of a whole answer, in order; `reader` has read nothing yet and is used up."""
    parts = [*reader.read(text), *reader.end()]
    return tuple(
        policies.called(begun.name, told.json)
        for begun, told in pairwise(parts)
        if isinstance(begun, CallBegun) and isinstance(told, CallArguments)
    )
