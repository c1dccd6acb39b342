"""Laws of the fused head and of its noise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.head import COLUMNS, Asked, Heat, Picked, pick, pick_reference
from kernels.noise import gumbel, gumbel_reference
from tests.kernels.interpreted.walls import walled

KEYS, PLACES = st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 40)
MASK = 3


def heat(rows: int) -> Heat:
    """Every third row greedy, the others at some temperature, under keys and positions that fill their words."""
    key, position = torch.randint(-(1 << 62), 1 << 62, (rows,)), torch.randint(0, 1 << 40, (rows,))
    warm = torch.where(torch.arange(rows) % 3 == 0, 0, torch.rand(rows) + 0.1)
    return Heat(walled(warm), walled(key), walled(position))


def same(found: Picked, wanted: Picked) -> None:
    """The same tokens, and figures equal to rounding."""
    assert torch.equal(found.token, wanted.token)
    for one, other in zip((found.logit, found.lse, found.scored), (wanted.logit, wanted.lse, wanted.scored), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


@settings(max_examples=6)
@given(st.integers(1, 70), st.integers(1, 90), st.integers(5, 150), st.booleans(), st.booleans(), st.integers(0, 99))
def test_the_head_is_its_definition(rows: int, inputs: int, vocab: int, heated: bool, bounded: bool, seed: int) -> None:
    """Picks, their logits, the log-sum-exp and the targets' logits, greedy or warm, free or under a grammar."""
    torch.manual_seed(seed)
    hidden, weight = walled(torch.randn(rows, inputs)), walled(torch.randn(vocab, inputs))
    bits = walled(torch.randint(-(1 << 31), 1 << 31, (rows, -(-vocab // 32)), dtype=torch.int32))
    target = walled(torch.randint(-1, vocab, (rows,), dtype=torch.int32))
    asked = Asked(MASK, target, heat(rows) if heated else None, bits if bounded else None)
    same(pick(hidden, weight, asked), pick_reference(hidden, weight, asked))


def equal_logits(ids: list[int], vocab: int) -> tuple[Tensor, Tensor]:
    """A row and a head in which exactly `ids` share the highest logit."""
    weight = torch.zeros(vocab, 16)
    weight[ids] = 1.0
    return torch.ones(1, 16), weight


def test_ties_go_to_the_lowest_id() -> None:
    """Within a tile of the vocabulary and across tiles; the mask id never wins, nor does what a grammar forbids."""
    free = Asked(MASK, torch.tensor([-1], dtype=torch.int32))
    for ids, wanted in (([70, 9, 130], 9), ([MASK, 130, 70], 70), ([MASK], 0), ([COLUMNS, COLUMNS - 1], COLUMNS - 1)):
        assert pick(*equal_logits(ids, 140), free).token.tolist() == [wanted]
    only = torch.zeros(1, 5, dtype=torch.int32)
    only[0, 4] = 1 << 2
    assert pick(*equal_logits([9], 140), Asked(MASK, free.target, None, only)).token.tolist() == [130]


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_nothing_allowed_is_still_a_token() -> None:
    """A row whose grammar forbids everything, and one that is not finite, pick some id; the latter's lse is not finite."""
    hidden, weight = torch.randn(2, 16), torch.randn(100, 16)
    hidden[1] = torch.nan
    found = pick(
        hidden, weight, Asked(MASK, torch.tensor([-1, -1], dtype=torch.int32), None, torch.zeros(2, 4, dtype=torch.int32))
    )
    assert found.token[0] == 0 and 0 <= int(found.token[1]) < 100 and not found.lse[1].isfinite()


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_pick_does_not_feel_its_company() -> None:
    """A greedy row's bits alone are its bits beside rows that are warm, and beside rows of NaN."""
    torch.manual_seed(1)
    row, weight = torch.randn(40), torch.randn(150, 40)
    target = torch.tensor([7], dtype=torch.int32)
    alone = pick(row[None], weight, Asked(MASK, target))
    others = torch.randn(67, 40) * 10
    others[65], others[66] = torch.nan, row
    beside = pick(others, weight, Asked(MASK, target.expand(67).contiguous(), heat(67)))
    for one, other in zip((alone.logit, alone.lse, alone.scored), (beside.logit, beside.lse, beside.scored), strict=True):
        assert torch.equal(one[0], other[66])
    assert alone.token[0] == beside.token[66]


@settings(max_examples=6)
@given(st.lists(st.tuples(KEYS, PLACES), min_size=1, max_size=3), st.integers(1, 1100))
def test_the_noise_is_the_noise(rows: list[tuple[int, int]], vocab: int) -> None:
    """A kernel makes the noise of every key, position and id to the last bit."""
    keys, positions = (torch.tensor(part) for part in zip(*rows, strict=True))
    assert torch.equal(gumbel(walled(keys), walled(positions), vocab), gumbel_reference(keys, positions, vocab))
