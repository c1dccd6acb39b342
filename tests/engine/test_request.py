"""Laws of the door: what a request may be."""

from __future__ import annotations

from typing import Any

import pytest

from engine.engine import Engine
from engine.errors import InvalidRequest
from engine.gates import Gate, Ruling, Verdict
from engine.request import Constraint, ConstraintKind, Mode
from engine.scheduler import Capacity
from tests.engine.harness import asked, model

JSON = Constraint(ConstraintKind.JSON_OBJECT)
REDO = Gate(lambda facts: Ruling(Verdict.ACCEPT), frozenset({Verdict.ACCEPT, Verdict.REDO_AR}))
NAN = float("nan")


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
        ({"temperature": 1e-40}, "a temperature that is not 0 must be between 1e-06 and"),
        ({"temperature": 1e39}, "a temperature that is not 0"),
        ({"seed": 1 << 64}, "seed"),
        ({"seed": -1}, "seed"),
        ({"choice": -1}, "choice"),
        ({"choice": 1 << 32}, "choice"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": NAN}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"min_p": NAN}, "min_p"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"repetition_penalty": NAN}, "repetition_penalty"),
        ({"repetition_penalty": 1e-39}, "repetition_penalty must be between 1e-06 and"),
        ({"repetition_penalty": 1e39}, "repetition_penalty"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": -1}, "top_logprobs"),
        ({"think_budget": -1}, "think_budget"),
        ({"think_budget": 1, "constraint": JSON}, "thinking budget and a constraint"),
        ({"stop_strings": ("a",) * 17}, "at most 16 stop strings"),
        ({"stop_strings": ("",)}, "1 to 256 bytes"),
        ({"stop_strings": ("\u00e9" * 129,)}, "1 to 256 bytes"),
        ({"cache_salt": "\ud800"}, "cache_salt holds an unpaired surrogate"),
    ],
)
def test_a_bad_request_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    """A request that no model could run is refused on construction, and the message names the field."""
    with pytest.raises(InvalidRequest, match=message):
        asked(Mode.AR, **changes)


@pytest.mark.parametrize(
    ("mode", "permitted", "changes", "message"),
    [
        (Mode.AUTO, set(Mode), {}, "leave it out of modes_permitted"),
        (Mode.AUTO, {Mode.DIFFUSION}, {}, "auto needs a causal mode"),
        (Mode.DIFFUSION, {Mode.DIFFUSION, Mode.AR}, {"constraint": JSON}, "would run as linear_spec"),
        (Mode.DIFFUSION, {Mode.DIFFUSION}, {"gate": REDO}, "decode again in ar"),
        (Mode.LINEAR_SPEC, {Mode.LINEAR_SPEC}, {"gate": REDO}, "decode again in ar"),
    ],
)
def test_nothing_may_lead_out_of_what_is_permitted(
    mode: Mode, permitted: set[Mode], changes: dict[str, Any], message: str
) -> None:
    """A choice, a fallback or a gate that could leave `modes_permitted` is refused before anything runs."""
    with pytest.raises(InvalidRequest, match=message):
        asked(mode, modes_permitted=frozenset(permitted), **changes)


@pytest.mark.parametrize(
    ("mode", "permitted", "changes"),
    [
        (Mode.AUTO, {Mode.QUADRATIC_SPEC}, {}),
        (Mode.DIFFUSION, {Mode.DIFFUSION, Mode.LINEAR_SPEC}, {"constraint": JSON}),
        (Mode.DIFFUSION, {Mode.DIFFUSION, Mode.AR}, {"gate": REDO}),
        (Mode.AR, {Mode.AR}, {"constraint": JSON}),
    ],
)
def test_what_stays_within_is_accepted(mode: Mode, permitted: set[Mode], changes: dict[str, Any]) -> None:
    """The same wishes are accepted where every mode that they may lead to is permitted."""
    assert asked(mode, modes_permitted=frozenset(permitted), **changes).mode is mode


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": (1,) * 500, "tokens": 13}, "over the 512 positions"),
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


def test_a_request_the_cache_cannot_hold_is_refused() -> None:
    """A pool smaller than the model's context bounds prompt and answer, its last block included."""
    engine = Engine(model(), capacity=Capacity(pages=4))
    with pytest.raises(InvalidRequest, match="over the 96 positions"):
        engine.submit(asked(Mode.AR, (1,) * 90, tokens=7))
    engine.submit(asked(Mode.AR, (1,) * 90, tokens=6))
    assert engine.load == 1
