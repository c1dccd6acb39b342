"""Laws of the training attention: it is its definition, forward and backward, on any spans and any number of threads.

Where a machine cannot compile it, nothing is usable, and whoever asks for it all the same is told so.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.cpu.build import SPANS, library
from kernels.cpu.spans import Rows, attention, definition, usable

HERE = library(SPANS) is not None

Heads = tuple[Tensor, Tensor, Tensor]


def heads(rows: Rows, keys: int, folds: int, head: int, seed: int) -> Heads:
    """Query, key and value."""
    generator = torch.Generator().manual_seed(seed)
    asked, places = int(rows.asking[-1]), int(rows.places[-1])
    shapes = ((asked, keys * folds), (places, keys), (places, keys))
    query, key, value = (torch.randn(*shape, head, generator=generator) for shape in shapes)
    return query, key, value


def rows_of(lengths: Sequence[tuple[int, int]], seed: int) -> Rows:
    """Rows of so many queries and keys; every query has two runs in order, either of which may be empty or touch the other."""
    generator = torch.Generator().manual_seed(seed)
    spans = [torch.randint(0, places + 1, (asked, 4), generator=generator, dtype=torch.int32) for asked, places in lengths]
    return Rows(torch.cat(spans).sort(dim=-1).values.contiguous(), *(borders(own) for own in zip(*lengths, strict=True)))


def borders(lengths: Sequence[int]) -> Tensor:
    """Where rows of these lengths begin and end."""
    return torch.tensor([0, *itertools.accumulate(lengths)])


def slopes(mixed: Tensor, given_heads: Heads, seed: int) -> tuple[Tensor, ...]:
    """Gradients of a random sum over `mixed`."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(mixed.shape, generator=generator).to(mixed.dtype)
    return torch.autograd.grad(mixed, given_heads, weights)


def differentiable(given_heads: Heads, dtype: torch.dtype) -> Heads:
    """Leaves of their own."""
    query, key, value = (tensor.to(dtype, copy=True).requires_grad_() for tensor in given_heads)
    return query, key, value


def lacking(drawn: Heads, rows: Rows) -> bool:
    """Whether this machine has none, which it must then say."""
    if not HERE:
        with pytest.raises(ValueError, match="ask `usable` first"):
            attention(*drawn, rows)
    return not HERE


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)), min_size=1, max_size=4),
    keys=st.integers(1, 3),
    folds=st.integers(1, 4),
    head=st.sampled_from([32, 64, 128]),
    seed=st.integers(0, 1 << 30),
)
def test_it_is_its_definition(lengths: list[tuple[int, int]], keys: int, folds: int, head: int, seed: int) -> None:
    """Output and gradients are those of torch's attention in float64 to a few last bits; who sees nothing gets zeros."""
    rows = rows_of(lengths, seed)
    drawn = heads(rows, keys, folds, head, seed)
    if lacking(drawn, rows):
        return
    ours, exact = differentiable(drawn, torch.float32), differentiable(drawn, torch.float64)
    found, wanted = attention(*ours, rows), definition(*exact, rows)
    assert torch.allclose(found.double(), wanted, atol=2e-6)
    for own, theirs in zip(slopes(found, ours, seed), slopes(wanted, exact, seed), strict=True):
        assert torch.allclose(own.double(), theirs, atol=3e-5, rtol=1e-5)


def test_large_scores_neither_overflow_nor_vanish() -> None:
    """With scores in the thousands the weights are those of the definition, and no gradient stops being a number."""
    rows = rows_of([(40, 40)], 4)
    drawn = heads(rows, 1, 3, 32, 4)
    if lacking(drawn, rows):
        return
    drawn = (drawn[0] * 200, drawn[1] * 20, drawn[2])
    ours = differentiable(drawn, torch.float32)
    found = attention(*ours, rows)
    assert torch.allclose(found, definition(*drawn, rows), atol=1e-3)
    assert all(bool(slope.isfinite().all()) for slope in slopes(found, ours, 4))


def test_threads_change_no_bit() -> None:
    """One thread and four give the same bytes, forward and backward."""
    rows, before = rows_of([(70, 70), (9, 80), (31, 31)], 9), torch.get_num_threads()
    drawn = heads(rows, 2, 3, 32, 9)
    if lacking(drawn, rows):
        return
    told = []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            ours = differentiable(drawn, torch.float32)
            found = attention(*ours, rows)
            told.append([found, *slopes(found, ours, 9)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, four) for one, four in zip(*told, strict=True))


def test_a_row_does_not_know_its_neighbours() -> None:
    """Output and gradients of each row are the bytes that it has alone."""
    lengths = [(33, 70), (90, 90), (5, 41)]
    rows = rows_of(lengths, 3)
    drawn = heads(rows, 2, 3, 32, 3)
    if lacking(drawn, rows):
        return
    ours = differentiable(drawn, torch.float32)
    found = attention(*ours, rows)
    together = slopes(found, ours, 3)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(3))
    for row, own in enumerate(lengths):
        asked, places = (slice(int(edge[row]), int(edge[row + 1])) for edge in (rows.asking, rows.places))
        alone = Rows(rows.spans[asked].contiguous(), *(borders([length]) for length in own))
        single = differentiable((drawn[0][asked], drawn[1][places], drawn[2][places]), torch.float32)
        told = attention(*single, alone)
        assert torch.equal(told, found[asked])
        for left, right, where in zip(
            torch.autograd.grad(told, single, weights[asked]), together, (asked, places, places), strict=True
        ):
            assert torch.equal(left, right[where])


def test_heads_of_another_size_are_not_usable() -> None:
    """A head that the loops cannot cut whole, or that is wider than their room, is left to the definition."""
    assert usable(torch.zeros(1, 2, 32)) is usable(torch.zeros(1, 2, 256)) is HERE
    assert not usable(torch.zeros(1, 2, 24)) and not usable(torch.zeros(1, 2, 288))


def test_rows_of_another_kind_are_refused() -> None:
    """Spans of another dtype or shape, and borders that do not cut all into rows, never reach the compiled code."""
    rows = rows_of([(5, 5), (5, 5)], 1)
    drawn = heads(rows, 1, 1, 32, 1)
    for spans in (rows.spans.long(), rows.spans[:9], rows.spans[:, :3]):
        with pytest.raises(ValueError, match="int32" if HERE else "ask `usable` first"):
            attention(*drawn, replace(rows, spans=spans))
    for wrong in ([0, 5, 9], [0, 11, 10], [1, 5, 10], [0], [0, 5, 5, 11], [-1, 5, 10]):
        for name in ("asking", "places"):
            with pytest.raises(ValueError, match="borders must" if HERE else "ask `usable` first"):
                attention(*drawn, replace(rows, **{name: torch.tensor(wrong)}))
    with pytest.raises(ValueError, match="as many rows" if HERE else "ask `usable` first"):
        attention(*drawn, replace(rows, asking=torch.tensor([0, 10])))
