"""The device's pass where no kernel runs: its doors open to their definitions, and the engine does not feel the difference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.device import OnDevice
from engine.device_picks import DevicePicks
from engine.engine import Engine
from engine.numeric import STRICT, Arithmetic, numeric_fingerprint
from engine.plan import Ints
from engine.request import Constraint, ConstraintKind, Mode, Numeric, Sampling
from engine.sampling import Ask, Logits, Picks, Rules, sample
from tests.bench.engine_laws import EngineLaws
from tests.engine.harness import asked, events_of, finished, loaded, model, output
from tests.engine.small import small_network

CPU = torch.device("cpu")
MODES = (Mode.AR, Mode.DIFFUSION, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC)
GIVEN = model()


def on_device(numeric: Numeric = Numeric.STRICT) -> Engine:
    """An engine by the device's pass, in float32 so that only the order of sums differs from the host's."""
    return Engine(GIVEN, OnDevice(numeric, CPU, torch.float32))


def answer(engine: Engine, mode: Mode, **changes: Any) -> tuple[int, ...]:
    """What the engine says alone."""
    request = asked(mode, **changes)
    events = events_of(engine, request)[request.id]
    assert finished(events).forwards > 0
    return output(events)


@pytest.mark.parametrize("numeric", list(Numeric))
@pytest.mark.parametrize("mode", MODES)
def test_it_says_what_the_host_says(mode: Mode, numeric: Numeric) -> None:
    """Greedy answers of every mode are those of the host's strict pass."""
    for prompt in ((1, 5, 9), tuple(range(2, 72))):
        assert answer(on_device(numeric), mode, prompt=prompt) == answer(Engine(GIVEN, STRICT), mode, prompt=prompt)


SHAPED = (
    Sampling(temperature=0.8, seed=3),
    Sampling(temperature=0.8, seed=3, top_p=0.7),
    Sampling(temperature=0.7, seed=4, repetition_penalty=1.3, presence_penalty=0.2),
)


@pytest.mark.parametrize("sampling", SHAPED, ids=["warm", "filtered", "penalised"])
@pytest.mark.parametrize("mode", [Mode.AR, Mode.LINEAR_SPEC])
def test_it_samples_what_the_host_samples(mode: Mode, sampling: Sampling) -> None:
    """Keyed noise is the same wherever it is made, on the way of plain rows and on that of rows with rules."""
    wanted = answer(Engine(GIVEN, STRICT), mode, sampling=sampling)
    assert answer(on_device(), mode, sampling=sampling) == wanted


def test_requests_of_all_kinds_share_a_pass() -> None:
    """Plain rows and rows with rules or alternatives go their own ways, and each request says what it says alone."""
    requests = [
        asked(Mode.AR),
        asked(Mode.LINEAR_SPEC, prompt=(4, 4, 8, 9), sampling=SHAPED[1]),
        asked(Mode.DIFFUSION, prompt=(7, 8)),
        asked(Mode.AR, prompt=(7, 8, 9, 10), top_logprobs=3),
    ]
    together = events_of(on_device(), *requests)
    for request in requests:
        assert output(together[request.id]) == output(events_of(on_device(), request)[request.id])


def test_figures_are_those_of_the_host() -> None:
    """Confidences, verifier's log-probabilities and alternatives agree with the host's to float32."""
    for mode, changes in ((Mode.DIFFUSION, {}), (Mode.AR, {"top_logprobs": 2}), (Mode.DIFFUSION, {"seed_first": False})):
        request = asked(mode, **changes)
        here, there = (events_of(engine, request)[request.id] for engine in (on_device(), Engine(GIVEN, STRICT)))
        for one, other in zip(here, there, strict=True):
            assert type(one) is type(other)
            for name in ("commit_confidence", "verifier_logprob", "logprob", "top_logprob"):
                found, wanted = np.array(getattr(one, name, ())), np.array(getattr(other, name, ()))
                assert np.array_equal(found, found.astype(np.float32)), "a record takes float32 alone"
                np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def picked(by: DevicePicks, hidden: Tensor, positions: Ints, asks: list[Ask]) -> list[Picks]:
    """What the host hears of one call."""
    found = by(hidden, positions, asks)
    return found.read(found.facts.numpy())


def test_picks_are_those_of_the_definition() -> None:
    """For rows of every kind in one call, `DevicePicks` gives what `sample` gives for the same logits."""
    generator = torch.Generator().manual_seed(2)
    hidden, head = (torch.randn(rows, 24, generator=generator) for rows in (14, 70))
    allowed = torch.rand(3, 70, generator=generator).numpy() < 0.1
    asks = [
        Ask(2, 0.0, 0),
        Ask(3, 0.9, 77, targets=(1, 69, 0)),
        Ask(2, 0.5, 12, top=4),
        Ask(2, 0.0, 0, targets=(5, 6)),
        Ask(3, 0.7, 9, rules=Rules(SHAPED[0], allowed)),
        Ask(2, 0.6, 9, rules=Rules(SHAPED[1])),
    ]
    asks = [replace(ask, others=True) for ask in asks]
    positions = np.arange(40, 54)
    found = picked(DevicePicks(head, 3), hidden, positions, asks)
    wanted = sample(Logits.of(hidden @ head.t(), 3), positions, asks)
    for one, other in zip(found, wanted, strict=True):
        assert one.ids == other.ids and one.top_ids == other.top_ids
        for name in ("logprob", "scored", "top_logprob"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-5)
        told, true = ([picks.last_logprob(token) for token in (0, 8, 69)] for picks in (one, other))
        assert told == pytest.approx(true, abs=1e-5)
    assert all(allowed[row, token] for row, token in enumerate(found[4].ids))


def test_a_constraint_needs_no_logits_on_the_host() -> None:
    """Rows under a constraint alone, in company with free ones, are picked by the fused head."""
    hidden, head = torch.randn(4, 24, generator=torch.Generator().manual_seed(3)), torch.eye(40, 24)
    bound = Rules(Sampling(temperature=0.0, seed=0), np.arange(40)[None, :] == np.array([[7], [39]]))
    picks = DevicePicks(head, 3)
    first, second = picked(picks, hidden, np.arange(4), [Ask(2, 0.0, 0), Ask(2, 0.0, 0, rules=bound)])
    assert second.ids == [7, 39]
    assert first.ids == sample(Logits.of(hidden[:2] @ head.t(), 3), np.arange(2), [Ask(2, 0.0, 0)])[0].ids
    assert "_wide" not in vars(picks)


def test_a_broken_row_is_told_apart() -> None:
    """A state that is not finite has a log-probability that is not finite, so the engine ends that generation alone."""
    hidden = torch.ones(2, 4)
    hidden[1] = torch.nan
    first, second = picked(DevicePicks(torch.eye(6, 4), 5), hidden, np.arange(2), [Ask(1, 0.0, 0), Ask(1, 0.0, 0)])
    assert np.isfinite(first.logprob).all() and not np.isfinite(second.logprob).any()


def test_the_fingerprint_names_what_computes() -> None:
    """A device's answers are not taken for the host's, nor `strict` for `fast`."""
    policies: list[Arithmetic] = [*(OnDevice(numeric, CPU, torch.float32) for numeric in Numeric), STRICT]
    kernels = [policy.prepare(GIVEN.network).kernels for policy in policies]
    assert len(set(map(numeric_fingerprint, policies, kernels))) == 3
    assert all("triton" in each and "cuda" in each for each in kernels[:2])


def test_a_constraint_binds_on_a_device_too() -> None:
    """A constraint goes along to the device, and answers are those of the host."""
    given = model(vocab_size=1100)
    request = asked(Mode.LINEAR_SPEC, constraint=Constraint(ConstraintKind.REGEX, "(ab|a)*c{3,5}"))
    engines = (Engine(given, OnDevice(Numeric.STRICT, CPU, torch.float32)), Engine(given, STRICT))
    said = [output(events_of(engine, request)[request.id]) for engine in engines]
    assert said[0] == said[1] and given.tokenizer.decode(said[0]).startswith(("a", "c"))


def test_the_laws_of_a_device_can_be_broken() -> None:
    """What `make bench-cuda` asks holds by the definitions too, and a drafter that changes nothing is found out."""
    laws = list(EngineLaws(GIVEN, GIVEN, CPU, torch.float32, 12).all())
    assert [law.broken() for law in laws] == [None, None, None, "every draft was the same"]
    bare = loaded(small_network(lora=False))
    assert list(EngineLaws(GIVEN, bare, CPU, torch.float32, 12).all())[3].broken() is None
