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
from engine.request import Mode
from gateway.app import run
from gateway.bench.modes import as_chat, questions
from gateway.engine_thread import EngineThread
from gateway.house import House
from gateway.settings import Settings
from tests.bench.recorded import Recording, Replay
from tests.engine.harness import asked

MODE: Final = Mode.LINEAR_SPEC
"""What the shipped policy chooses for whoever does not choose."""
MAX_TOKENS: Final = 96
QUESTION: Final = questions(1)[0].prompt


def recording(model: LoadedModel) -> Recording:
    """The answer that everybody gets in the benchmark: greedy, in the mode that is the policy's default."""
    given: dict[str, Any] = {"block": 16, "stop": (model.config.eos_token_id,), "modes_permitted": frozenset({MODE})}
    return Recording.of(Engine(model), asked(MODE, as_chat(model, QUESTION), MAX_TOKENS, **given))


class ReplayingHouse(House):
    """A house whose engine only replays."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.engine = EngineThread(Replay(recording(self.bench.model)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.replaying", description="the gateway over a stand-in")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8018)
    given = parser.parse_args()
    run(replace(Settings.read(os.environ), host=given.host, port=given.port), ReplayingHouse)


if __name__ == "__main__":
    main()
