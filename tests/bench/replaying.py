"""Our gateway with an engine stand-in: everything but the engine is the product's, each answer is one recorded generation.

    python -m tests.bench.replaying --host 127.0.0.1 --port N

Settings come from PALIMPSEST_* as ever. The recording is made at the start by the real engine, which is strict, so every
process of a benchmark records the same.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import Any, Final

from engine.engine import Engine
from engine.model.checkpoint import LoadedModel
from engine.request import GenerationRequest, Mode
from gateway.app import run
from gateway.bench.modes import as_chat, questions
from gateway.engine_thread import EngineThread
from gateway.house import House
from gateway.settings import Settings
from tests.bench.recorded import Recording, Replay
from tests.engine.harness import asked

MODES: Final = (Mode.LINEAR_SPEC, Mode.AR)
"""The policy's default, and the one that everybody has."""
MAX_TOKENS: Final = 96
QUESTION: Final = questions(1)[0].prompt


def wanted(model: LoadedModel, mode: Mode) -> GenerationRequest:
    """The request that everybody makes in the benchmark, greedy, as the gateway would give it to its engine."""
    given: dict[str, Any] = {"block": 16, "stop": (model.config.eos_token_id,), "modes_permitted": frozenset({mode})}
    return asked(mode, as_chat(model, QUESTION), MAX_TOKENS, **given)


def recordings(model: LoadedModel) -> dict[Mode, Recording]:
    """Its answer in each mode."""
    engine = Engine(model)
    return {mode: Recording.of(engine, wanted(model, mode)) for mode in MODES}


class ReplayingHouse(House):
    """A house whose engine only replays."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.engine = EngineThread(Replay(recordings(self.intake.model)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.replaying", description="the gateway over a stand-in")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8018)
    given = parser.parse_args()
    run(replace(Settings.read(os.environ), host=given.host, port=given.port), ReplayingHouse)


if __name__ == "__main__":
    main()
