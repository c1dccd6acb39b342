"""A request as its records tell it, run once more in an engine that knows nothing of the first time, gates included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from audit.records import Body, RequestOpen
from engine.engine import Engine
from engine.events import Event
from engine.gates import Gate
from engine.model.checkpoint import LoadedModel
from engine.request import Numeric
from gateway.replay import recorded_request, the
from tests.engine.harness import events_of


def replayed(model: LoadedModel, request: UUID, bodies: Sequence[Body], gate: Gate | None = None) -> list[Event]:
    """What a fresh engine says when it is asked what the records say was asked; a gate is code, so it is given anew."""
    opening = the(RequestOpen, bodies)
    assert opening.gated == (gate is not None)
    return events_of(Engine(model, Numeric(opening.numeric)), replace(recorded_request(request, bodies), gate=gate))[request]
