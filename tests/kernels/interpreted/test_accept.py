"""Laws of the kernels that decide: what a denoising step keeps, what a verification accepts."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.accept import BLOCK_MOST, NO_STOP, accept, accept_reference, select, select_reference
from tests.kernels.interpreted.walls import poisoned, walled

SEQUENCES, BLOCKS, SEEDS = st.integers(1, 3), st.integers(1, BLOCK_MOST), st.integers(0, 999)


def stop_ids(sequences: int, ids: int) -> Tensor:
    """Two stop ids of a small vocabulary, one, or none."""
    stops = torch.randint(0, ids, (sequences, 2), dtype=torch.int32)
    return stops.masked_fill(torch.rand(sequences, 2) < 0.5, NO_STOP)


@settings(max_examples=20)
@given(SEQUENCES, BLOCKS, SEEDS)
def test_selection_is_its_definition(sequences: int, block: int, seed: int) -> None:
    """Kept positions, ties among equal confidences, blocks cut short by a stop id: the record and the block, cell by cell."""
    torch.manual_seed(seed)
    shape = (sequences, block)
    tokens, proposal = torch.randint(0, 9, (2, *shape), dtype=torch.int32)
    masked, logprob = torch.rand(shape) < torch.rand(()), -torch.randint(0, 6, shape) / 2
    threshold = torch.tensor([0.5, 0.2, 2.0])[torch.randint(0, 3, (sequences,))]
    least = torch.randint(1, block + 1, (sequences,), dtype=torch.int32)
    subject = tuple(map(walled, (proposal, logprob, threshold, least, stop_ids(sequences, 9))))
    own, state = (walled(tokens), walled(masked)), (tokens.clone(), masked.clone())
    found, wanted = select(*own, *subject), select_reference(*state, *subject)
    integers, confidences = slice(0, 3 + block), slice(3 + block, None)
    assert torch.equal(found[:, integers], wanted[:, integers])
    torch.testing.assert_close(*(part[:, confidences].contiguous().view(torch.float32) for part in (found, wanted)))
    assert torch.equal(own[0], state[0]) and torch.equal(own[1], state[1])
    assert not poisoned(found).any()


@settings(max_examples=20)
@given(SEQUENCES, BLOCKS, SEEDS)
def test_acceptance_is_its_definition(sequences: int, block: int, seed: int) -> None:
    """Accepted prefix, stop ids, the end of the budget, the next seed, and what is committed: cell by cell."""
    torch.manual_seed(seed)
    draft, other = torch.randint(0, 5, (2, sequences, block), dtype=torch.int32)
    verified = torch.where(torch.rand(sequences, block) < 0.85, draft.roll(-1, 1), other)
    logprob = torch.randn(sequences, block)
    sizes, room = (torch.randint(1, block + 1, (sequences,), dtype=torch.int32) for _ in range(2))
    committed = torch.arange(sequences, dtype=torch.int32)
    own, state = walled(committed), committed.clone()
    stops = walled(stop_ids(sequences, 40))
    subject = (walled(draft), walled(sizes), walled(verified), walled(logprob), walled(room), stops)
    assert torch.equal(accept(*subject, own), accept_reference(*subject, state))
    assert torch.equal(own, state)
