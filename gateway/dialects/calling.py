"""A request's choice of tools becomes part of what its answer is held to, by the served checkpoint's form of calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from engine.model.checkpoint import LoadedModel
from engine.request import ConstraintKind
from gateway.call_grammar import call_grammar
from gateway.dialects.request import Calling, CallOf, ChatRequest, Conversation
from gateway.errors import BadRequest

_OF_WHOLE: Final = (ConstraintKind.REGEX, ConstraintKind.GRAMMAR)
"""Those of our own object, which hold the whole answer."""


def held_to_choice(model: LoadedModel, asked: ChatRequest) -> ChatRequest:
    """The request with its grammar, if its tools need one.

    Raises BadRequest for an answer that must be two things, and for schemas that nobody can follow to their ground.
    """
    prompt, form = asked.prompt, None if model.template is None else model.template.call_form
    if not isinstance(prompt, Conversation):
        return asked
    must = prompt.choice is Calling.REQUIRED or isinstance(prompt.choice, CallOf)
    if must and asked.constraint is not None and asked.constraint.kind in _OF_WHOLE:
        message = (
            f"the answer cannot be both a call and what palimpsest.{asked.constraint.kind} asks for: leave one of them out"
        )
        raise BadRequest(message, code="conflict", param="tool_choice")
    # A format, as the dialects have it, is that of a text, and an answer that must call has none.
    if form is None or not prompt.binding or (asked.constraint is not None and not must):
        return asked
    try:
        return replace(asked, constraint=call_grammar(prompt, form))
    except RecursionError as error:
        raise BadRequest("a tool's schema is nested too deeply", code="invalid_constraint", param="tools") from error
