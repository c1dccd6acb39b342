"""The tools that an answer calls, as the judge may know them: read from its text as the client's dialect reads it."""

from __future__ import annotations

import policies
from gateway.calls import AnswerReader, calls_of


def calls_read(reader: AnswerReader, text: str) -> tuple[policies.ToolCall, ...]:
    """The calls of a whole answer, in order; `reader` has read nothing yet and is used up."""
    return tuple(policies.called(call.name, call.arguments) for call in calls_of(reader, text))
