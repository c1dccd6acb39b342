"""Batching: every row once, within the budget, with little padding."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from engine.train.batches import PADDING, Batch, Scope, grouped
from tests.engine.train.rows import END, random_rows


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=80), st.integers(1, 10_000))
def test_every_row_is_in_one_group_within_the_budget(costs: list[int], budget: int) -> None:
    """Groups are a partition, only a single row may cost more than the budget, and none is padding beyond the bound."""
    groups = grouped(costs, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(costs)))
    for group in groups:
        whole = len(group) * max(costs[index] for index in group)
        assert sum(costs[index] for index in group) > (1 - PADDING) * whole or len(group) == 1
    assert all(len(group) == 1 or len(group) * max(costs[index] for index in group) <= budget for group in groups)


def test_little_is_padding() -> None:
    """Of rows like those of training, a few of them long, less than a tenth of what is computed is padding."""
    random = Random(1)
    costs = [random.randint(60, 260) if random.random() < 0.95 else random.randint(512, 4096) for _ in range(96)]
    computed = sum(len(group) * max(costs[index] for index in group) for group in grouped(costs, 6144))
    assert sum(costs) / computed > 0.9


def test_a_batch_ends_every_row_with_the_end_token() -> None:
    """Padding is the end token and never scored; answers are, or all of a row."""
    batch = Batch.of(random_rows((3, 5), (1, 8)), END)
    assert batch.tokens.shape == (2, 8) and batch.tokens[0, 4:].tolist() == [END] * 4
    assert batch.scored().int().tolist() == [[0, 0, 0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1]]
    assert batch.scored(Scope.ROWS).int().tolist() == [[1, 1, 1, 1, 1, 0, 0, 0], [1] * 8]
