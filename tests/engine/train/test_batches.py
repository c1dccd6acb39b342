"""Batching: every row once, within the budget, in few groups."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from engine.train.batches import Batch, Scope, grouped
from tests.engine.train.rows import END, random_rows


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=80), st.integers(1, 10_000))
def test_every_row_is_in_one_group_within_the_budget(costs: list[int], budget: int) -> None:
    """Groups are a partition, dearest rows first; only a single row may cost more than the budget, and no two fit into one."""
    groups = grouped(costs, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(costs)))
    told = [costs[index] for group in groups for index in group]
    assert told == sorted(costs, reverse=True)
    assert all(len(group) == 1 or sum(costs[index] for index in group) <= budget for group in groups)
    for group, after in itertools.pairwise(groups):
        assert sum(costs[index] for index in group) + costs[after[0]] > budget


def test_a_batch_ends_every_row_with_the_end_token() -> None:
    """Padding is the end token and never scored; answers are, or all of a row."""
    batch = Batch.of(random_rows((3, 5), (1, 8)), END)
    assert batch.tokens.shape == (2, 8) and batch.tokens[0, 4:].tolist() == [END] * 4
    assert batch.scored().int().tolist() == [[0, 0, 0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1]]
    assert batch.scored(Scope.ROWS).int().tolist() == [[1, 1, 1, 1, 1, 0, 0, 0], [1] * 8]
