"""Laws of the door: what a request may be."""

from __future__ import annotations

from typing import Any

import pytest

from engine.engine import Engine
from engine.errors import InvalidRequest
from engine.request import Mode
from tests.engine.harness import asked, model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": ()}, "prompt is empty"),
        ({"modes_permitted": frozenset({Mode.DIFFUSION})}, "mode ar is not permitted"),
        ({"modes_permitted": frozenset()}, "permitted: none"),
        ({"tokens": 0}, "max_tokens"),
        ({"block": 0}, "block_length"),
        ({"block": 33}, "block_length"),
        ({"max_steps": 0}, "max_steps"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"seed": 1 << 64}, "seed"),
        ({"seed": -1}, "seed"),
        ({"choice": -1}, "choice"),
    ],
)
def test_a_bad_request_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    """A request that no model could run is refused on construction, and the message names the field."""
    with pytest.raises(InvalidRequest, match=message):
        asked(Mode.AR, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": (1,) * 500, "tokens": 13}, "context of 512"),
        ({"prompt": (1, 128)}, "token id 128"),
        ({"prompt": (-1,)}, "token id -1"),
        ({"stop": (4096,)}, "stop_ids"),
    ],
)
def test_a_request_the_model_cannot_hold_is_refused(changes: dict[str, Any], message: str) -> None:
    """Context and vocabulary are checked before anything is queued."""
    engine = Engine(model())
    with pytest.raises(InvalidRequest, match=message):
        engine.submit(asked(Mode.AR, **changes))
    assert engine.idle()
