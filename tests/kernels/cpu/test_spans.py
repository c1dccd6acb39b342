"""Laws of the training attention: it is its definition, forward and backward, on any spans and any number of threads.

Where a machine cannot compile it, nothing is usable, and whoever asks for it all the same is told so.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.cpu.build import SPANS, library
from kernels.cpu.spans import attention, definition, usable

HERE = library(SPANS) is not None

Heads = tuple[Tensor, Tensor, Tensor]


def heads(rows: int, places: int, keys: int, folds: int, head: int, seed: int) -> Heads:
    """Query, key and value."""
    generator = torch.Generator().manual_seed(seed)
    counts = (keys * folds, keys, keys)
    query, key, value = (torch.randn(rows, places, count, head, generator=generator) for count in counts)
    return query, key, value


def spans_of(rows: int, places: int, seed: int) -> Tensor:
    """Two runs in order for every query, either of which may be empty, and may touch the other."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, places + 1, (rows, places, 4), generator=generator, dtype=torch.int32)
    return drawn.sort(dim=-1).values.contiguous()


def slopes(mixed: Tensor, given_heads: Heads, seed: int) -> tuple[Tensor, ...]:
    """Gradients of a random sum over `mixed`."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(mixed.shape, generator=generator).to(mixed.dtype)
    return torch.autograd.grad(mixed, given_heads, weights)


def differentiable(given_heads: Heads, dtype: torch.dtype) -> Heads:
    """Leaves of their own."""
    query, key, value = (tensor.to(dtype, copy=True).requires_grad_() for tensor in given_heads)
    return query, key, value


def lacking(drawn: Heads, spans: Tensor) -> bool:
    """Whether this machine has none, which it must then say."""
    if not HERE:
        with pytest.raises(ValueError, match="ask `usable` first"):
            attention(*drawn, spans)
    return not HERE


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 3),
    places=st.integers(1, 90),
    keys=st.integers(1, 3),
    folds=st.integers(1, 4),
    head=st.sampled_from([32, 64, 128]),
    seed=st.integers(0, 1 << 30),
)
def test_it_is_its_definition(rows: int, places: int, keys: int, folds: int, head: int, seed: int) -> None:
    """Output and gradients are those of torch's attention in float64 to a few last bits; who sees nothing gets zeros."""
    drawn, spans = heads(rows, places, keys, folds, head, seed), spans_of(rows, places, seed)
    if lacking(drawn, spans):
        return
    ours, exact = differentiable(drawn, torch.float32), differentiable(drawn, torch.float64)
    found, wanted = attention(*ours, spans), definition(*exact, spans)
    assert torch.allclose(found.double(), wanted, atol=2e-6)
    for own, theirs in zip(slopes(found, ours, seed), slopes(wanted, exact, seed), strict=True):
        assert torch.allclose(own.double(), theirs, atol=3e-5, rtol=1e-5)


def test_large_scores_neither_overflow_nor_vanish() -> None:
    """With scores in the thousands the weights are those of the definition, and no gradient stops being a number."""
    drawn, spans = heads(1, 40, 1, 3, 32, 4), spans_of(1, 40, 4)
    if lacking(drawn, spans):
        return
    drawn = (drawn[0] * 200, drawn[1] * 20, drawn[2])
    ours = differentiable(drawn, torch.float32)
    found = attention(*ours, spans)
    assert torch.allclose(found, definition(*drawn, spans), atol=1e-3)
    assert all(bool(slope.isfinite().all()) for slope in slopes(found, ours, 4))


def test_threads_change_no_bit() -> None:
    """One thread and four give the same bytes, forward and backward."""
    drawn, spans, before = heads(3, 70, 2, 3, 32, 9), spans_of(3, 70, 9), torch.get_num_threads()
    if lacking(drawn, spans):
        return
    told = []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            ours = differentiable(drawn, torch.float32)
            found = attention(*ours, spans)
            told.append([found, *slopes(found, ours, 9)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, four) for one, four in zip(*told, strict=True))


def test_heads_of_another_size_are_not_usable() -> None:
    """A head that the loops cannot cut whole is left to the definition."""
    assert usable(torch.zeros(1, 1, 2, 32)) is HERE and not usable(torch.zeros(1, 1, 2, 24))


def test_spans_of_another_kind_are_refused() -> None:
    """Spans of another dtype or shape never reach the compiled code."""
    drawn = heads(2, 5, 1, 1, 32, 1)
    for spans in (spans_of(2, 5, 1).long(), spans_of(2, 4, 1), spans_of(1, 5, 1)):
        with pytest.raises(ValueError, match="int32" if HERE else "ask `usable` first"):
            attention(*drawn, spans)
