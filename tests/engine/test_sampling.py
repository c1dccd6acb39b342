"""Laws of the pick."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.request import Sampling
from engine.sampling import Ask, Logits, Picks, Rules, confidences, sample, sampling_key, shape
from kernels.noise import gumbel

MASK = 3


def picked(logits: Tensor, sampling: Sampling, start: int = 0, rules: Rules | None = None) -> Picks:
    """The picks of one generation for rows at positions from `start` on."""
    ask = Ask(len(logits), sampling.temperature, sampling_key(sampling), rules=rules)
    return sample(Logits.of(logits.clone(), MASK), np.arange(start, start + len(logits)), [ask])[0]


def test_greedy_is_argmax_with_the_lowest_id() -> None:
    """At temperature 0 the highest logit wins and a tie goes to the lowest id."""
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0], [5.0, 1.0, 5.0, 0.0]])
    assert picked(logits, Sampling(0.0, 1)).ids == [1, 0]


@pytest.mark.parametrize("temperature", [0.0, 0.5, 5.0])
def test_the_mask_is_never_picked(temperature: float) -> None:
    """However likely the mask id is, no pick returns it."""
    logits = torch.zeros(50, 5)
    logits[:, MASK] = 100.0
    assert MASK not in picked(logits, Sampling(temperature, 1)).ids


@pytest.mark.parametrize("changes", [{"top_k": 1}, {"top_p": 0.5}, {"min_p": 0.9}, {"top_k": 2, "repetition_penalty": 1.5}])
def test_the_mask_takes_no_other_token_s_place(changes: dict[str, float]) -> None:
    """Filters rank what can be picked: where the mask id is the likeliest, the best ordinary id stays, not an arbitrary one."""
    sampling = Sampling(1.0, 5, **changes)  # type: ignore[arg-type]
    logits = torch.zeros(6, 9)
    logits[:, MASK], logits[:, 6] = 90.0, 40.0
    seen = np.zeros((6, 9), dtype=np.int32)
    rules = Rules(sampling, output_counts=seen, seen=seen > 0)
    assert picked(logits, sampling, rules=rules).ids == [6] * 6


def test_a_pick_is_a_function_of_its_row_and_position() -> None:
    """The same row at the same position is the same pick, alone, beside others of its own and beside other generations."""
    logits, sampling = torch.randn(20, 64), Sampling(1.0, 9)
    together = picked(logits, sampling, 100)
    alone = [picked(logits[n : n + 1], sampling, 100 + n) for n in range(20)]
    assert together.ids == [picks.ids[0] for picks in alone]
    assert together.logprob == [picks.logprob[0] for picks in alone]
    asks = [Ask(4, 0.0, 1), Ask(20, 1.0, sampling_key(sampling)), Ask(7, 0.3, 5)]
    positions = np.concatenate((np.arange(4), np.arange(100, 120), np.arange(7)))
    several = torch.cat((torch.randn(4, 64), logits, torch.randn(7, 64)))
    mixed = sample(Logits.of(several, MASK), positions, asks)
    assert (mixed[1].ids, mixed[1].logprob) == (together.ids, together.logprob)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 2.5])
def test_a_warm_pick_is_the_highest_of_score_and_noise(temperature: float) -> None:
    """The pick is, by its definition, the argmax of logits / temperature plus the noise of key, position and id."""
    logits, sampling = torch.randn(40, 64) * 3, Sampling(temperature, 11, choice=2)
    key = torch.full((40,), sampling_key(sampling))
    scores = logits / temperature + gumbel(key, torch.arange(500, 540), 64)
    scores[:, MASK] = -math.inf
    assert picked(logits, sampling, 500).ids == scores.argmax(-1).tolist()


def test_the_key_tells_seeds_and_choices_apart() -> None:
    """H(seed, choice) is the first 64 bits of SHA-256 over both, and differs when either does."""
    assert sampling_key(Sampling(1.0, 0, 0)) == 0x15EC7BF0B50732B4  # sha256 of twelve zero bytes
    assert len({sampling_key(Sampling(1.0, seed, choice)) for seed in range(9) for choice in range(9)}) == 81


def test_logprob_and_confidence_are_of_the_raw_softmax() -> None:
    """Temperature and filters move the pick but not what is said of it; values are float32."""
    logits, sampling = torch.randn(6, 40), Sampling(3.0, 2, top_p=0.7)
    picks = picked(logits, sampling, rules=Rules(sampling))
    exact = logits.double().log_softmax(-1)
    for row, (token, logprob, confidence) in enumerate(zip(picks.ids, picks.logprob, confidences(picks.logprob), strict=True)):
        assert math.isclose(logprob, float(exact[row, token]), abs_tol=1e-5)
        assert math.isclose(confidence, math.exp(logprob), rel_tol=1e-6)
        assert float(torch.tensor(logprob, dtype=torch.float32)) == logprob
        assert float(torch.tensor(confidence, dtype=torch.float32)) == confidence


def test_log_probabilities_are_torch_s_to_the_bit() -> None:
    """A logit less its row's peak less its mass is the log-softmax of torch, also where the mask id is the highest."""
    logits = torch.randn(50, 90, generator=torch.Generator().manual_seed(6)) * 9
    logits[::2, MASK] = 60.0
    found = Logits.of(logits.clone(), MASK)
    assert np.array_equal(found.raw, logits.numpy()), "the logits are told as they came"
    assert np.array_equal(found.logprobs(slice(None)), logits.log_softmax(-1).numpy())
    assert np.array_equal(found.logprob, found.logprobs_of(0, found.best))


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_broken_logits_show(poison: float) -> None:
    """A row with a logit that is no finite number has a log-probability that is none, and no other row does."""
    logits = torch.zeros(3, 8)
    logits[1, 5] = poison
    assert [math.isfinite(value) for value in picked(logits, Sampling(0.0, 1)).logprob] == [True, False, True]


def test_picks_keep_no_more_than_their_last_row() -> None:
    """Picks outlive their pass, and what they hold for the log-probabilities of other tokens is one row of it."""
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(4))
    asks = [Ask(2, 0.0, 0, others=True), Ask(1, 0.0, 0)]
    some, none = sample(Logits.of(logits.clone(), 8), np.arange(3), asks)
    reading: Any = some.last
    held = reading.__self__
    assert isinstance(held, np.ndarray)
    while isinstance(held, np.ndarray):
        assert held.size == 9
        held = held.base
    assert some.last_logprob(5) == float(logits.log_softmax(-1)[1, 5])
    with pytest.raises(ValueError, match="others"):
        none.last_logprob(5)


def test_targets_and_alternatives_are_of_the_raw_softmax() -> None:
    """Log-probabilities of asked-for ids and of the best ids are those of the raw logits, best first."""
    logits = torch.randn(5, 30)
    picks = sample(Logits.of(logits.clone(), MASK), np.arange(5), [Ask(5, 0.0, 1, targets=(4, 3, 2, 1, 0), top=6)])[0]
    exact = logits.log_softmax(-1)
    assert picks.scored == [float(exact[row, 4 - row]) for row in range(5)]
    for row in range(5):
        order = sorted(range(30), key=lambda token, row=row: -float(exact[row, token]))[:6]  # type: ignore[misc]
        assert picks.top_ids[row] == order
        assert picks.top_logprob[row] == [float(exact[row, token]) for token in order]


def test_picks_follow_the_softmax() -> None:
    """Over many positions the counts of a fixed row match its tempered softmax (chi-square, 11 degrees of freedom)."""
    logits, draws, temperature = torch.linspace(-1.5, 1.5, 13), 8000, 1.5
    logits = logits[torch.tensor([0, 1, 2, 12, *range(3, 12)])]
    picks = picked(logits.expand(draws, 13).clone(), Sampling(temperature, 4))
    expected = (logits / temperature).masked_fill(torch.arange(13) == MASK, -math.inf).softmax(-1) * draws
    counts = torch.bincount(torch.tensor(picks.ids), minlength=13)
    found = ((counts - expected) ** 2 / expected)[torch.arange(13) != MASK]
    assert float(found.sum()) < 31.3  # the 0.999 quantile


SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0.1, 3),
    seed=st.just(1),
    top_p=st.floats(0.05, 1),
    top_k=st.integers(0, 12),
    min_p=st.floats(0, 1),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    repetition_penalty=st.floats(0.5, 2),
)
ROWS = st.lists(st.floats(-8, 8, width=32), min_size=10, max_size=10)
COUNTS = st.lists(st.integers(0, 3), min_size=10, max_size=10)
SEEN = st.lists(st.booleans(), min_size=10, max_size=10)


def survivors(row: list[float], sampling: Sampling, counts: list[int], seen: list[bool]) -> tuple[list[float], set[int]]:
    """Scores after penalties and the ids that the filters leave, written out token by token."""
    scores = []
    for score, count, known in zip(row, counts, seen, strict=True):
        changed = score
        if known:
            changed = score / sampling.repetition_penalty if score > 0 else score * sampling.repetition_penalty
        scores.append(changed - count * sampling.frequency_penalty - (count > 0) * sampling.presence_penalty)
    ranked = sorted(range(len(row)), key=lambda token: (-scores[token], token))
    kept = ranked[: sampling.top_k] if sampling.top_k else ranked
    weights = [math.exp((scores[token] - scores[kept[0]]) / sampling.temperature) for token in kept]
    mass = sum(weights)
    before, left = 0.0, set()
    for token, weight in zip(kept, weights, strict=True):
        margin = min(abs(before - sampling.top_p), abs(weight / weights[0] - sampling.min_p))
        if margin < 1e-4 and token != kept[0]:
            return scores, set()  # too close to call in float32
        if token == kept[0] or (before < sampling.top_p and weight / weights[0] >= sampling.min_p):
            left.add(token)
        before += weight / mass
    return scores, left


@settings(max_examples=300)
@given(
    ROWS, SAMPLINGS, st.lists(st.integers(0, 3), min_size=10, max_size=10), st.lists(st.booleans(), min_size=10, max_size=10)
)
def test_filters_and_penalties_by_hand(row: list[float], sampling: Sampling, counts: list[int], seen: list[bool]) -> None:
    """Vectorised penalties and filters are those written out token by token; the likeliest token always stays."""
    known = [one or count > 0 for one, count in zip(seen, counts, strict=True)]
    scores, left = survivors(row, sampling, counts, known)
    if not left or len({round(score, 4) for score in scores}) < len(scores):
        return
    found = torch.tensor([row])
    shape(found, Rules(sampling, None, None, np.array([counts], np.int32), np.array([known])))
    assert {token for token in range(10) if math.isfinite(float(found[0, token]))} == left
    assert max(range(10), key=scores.__getitem__) in left
    for token in left:
        assert math.isclose(float(found[0, token]), scores[token], rel_tol=1e-4, abs_tol=1e-4)


def test_a_constraint_and_a_forced_id_bind() -> None:
    """Only permitted ids are picked, and a forced id is picked whatever its logit and whatever the filters say."""
    sampling = Sampling(1.0, 5, top_k=1)
    logits = torch.zeros(4, 9)
    logits[:, 8] = 50.0
    allowed = np.zeros((4, 9), dtype=np.bool_)
    allowed[:, [1, 2]] = True
    assert set(picked(logits, sampling, rules=Rules(sampling, allowed)).ids) <= {1, 2}
    forced = np.array([-1, 6, -1, 0])
    assert picked(logits, sampling, rules=Rules(sampling, None, forced)).ids == [8, 6, 8, 0]


def test_rules_touch_their_own_rows_only() -> None:
    """A generation with penalties and filters changes nothing for the rows beside it."""
    logits, plain = torch.randn(6, 40), Sampling(0.8, 3)
    ruled = replace(plain, top_k=2)
    asks = [Ask(3, 0.8, 7), Ask(3, 0.8, 7, rules=Rules(ruled))]
    positions = np.array([0, 1, 2, 0, 1, 2])
    both = torch.cat((logits[:3], logits[:3]))
    free, bound = sample(Logits.of(both.clone(), MASK), positions, asks)
    assert free.ids == sample(Logits.of(logits[:3].clone(), MASK), positions[:3], asks[:1])[0].ids
    best = logits[:3].index_fill(1, torch.tensor([MASK]), -math.inf).topk(2).indices.tolist()
    assert all(token in pair for token, pair in zip(bound.ids, best, strict=True))
