"""Laws of the pick."""

from __future__ import annotations

import math

import pytest
import torch

from engine.errors import NumericFault
from engine.request import Sampling
from engine.sampling import Sampler, sampling_key

MASK = 3


def test_greedy_is_argmax_with_the_lowest_id() -> None:
    """At temperature 0 the highest logit wins and a tie goes to the lowest id."""
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0], [5.0, 1.0, 5.0, 0.0]])
    assert Sampler(Sampling(0.0, 1), MASK).pick(logits, (7, 8)).ids == (1, 0)


@pytest.mark.parametrize("temperature", [0.0, 0.5, 5.0])
def test_the_mask_is_never_picked(temperature: float) -> None:
    """However likely the mask id is, no pick returns it."""
    logits = torch.zeros(50, 5)
    logits[:, MASK] = 100.0
    assert MASK not in Sampler(Sampling(temperature, 1), MASK).pick(logits, range(50)).ids


def test_a_pick_is_a_function_of_its_row_and_position() -> None:
    """The same row at the same position is the same pick, alone, later, beside others and in a fresh sampler."""
    logits = torch.randn(20, 64)
    sampler = Sampler(Sampling(1.0, 9), MASK)
    together = sampler.pick(logits, range(100, 120))
    alone = [Sampler(Sampling(1.0, 9), MASK).pick(logits[n : n + 1], (100 + n,)) for n in range(20)]
    assert together.ids == tuple(picks.ids[0] for picks in alone)
    assert together.logprob == tuple(picks.logprob[0] for picks in alone)
    sampler.pick(torch.randn(300, 64), range(300))
    assert sampler.pick(logits, range(100, 120)) == together


def test_the_key_tells_seeds_and_choices_apart() -> None:
    """H(seed, choice) is the first 64 bits of SHA-256 over both, and differs when either does."""
    assert sampling_key(Sampling(1.0, 0, 0)) == 0x15EC7BF0B50732B4  # sha256 of twelve zero bytes
    assert len({sampling_key(Sampling(1.0, seed, choice)) for seed in range(9) for choice in range(9)}) == 81


def test_logprob_and_confidence_are_of_the_raw_softmax() -> None:
    """Temperature moves the pick but not what is said of it; values are float32."""
    logits = torch.randn(6, 40)
    picks = Sampler(Sampling(3.0, 2), MASK).pick(logits, range(6))
    exact = logits.double().log_softmax(-1)
    for row, (token, logprob, confidence) in enumerate(zip(picks.ids, picks.logprob, picks.confidence, strict=True)):
        assert math.isclose(logprob, float(exact[row, token]), abs_tol=1e-5)
        assert math.isclose(confidence, math.exp(logprob), rel_tol=1e-6)
        assert float(torch.tensor(logprob, dtype=torch.float32)) == logprob
        assert float(torch.tensor(confidence, dtype=torch.float32)) == confidence


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_broken_logits_are_a_fault(poison: float) -> None:
    """A logit that is no finite number is never turned into a token."""
    logits = torch.zeros(2, 8)
    logits[1, 5] = poison
    with pytest.raises(NumericFault, match="not finite"):
        Sampler(Sampling(0.0, 1), MASK).pick(logits, (0, 1))


def test_picks_follow_the_softmax() -> None:
    """Over many positions the counts of a fixed row match its tempered softmax (chi-square, 11 degrees of freedom)."""
    logits, draws, temperature = torch.linspace(-1.5, 1.5, 13), 8000, 1.5
    picks = Sampler(Sampling(temperature, 4), 12).pick(logits.expand(draws, 13), range(draws))
    expected = (logits[:12] / temperature).softmax(-1) * draws
    counts = torch.bincount(torch.tensor(picks.ids), minlength=12)
    assert float(((counts - expected) ** 2 / expected).sum()) < 31.3  # the 0.999 quantile
