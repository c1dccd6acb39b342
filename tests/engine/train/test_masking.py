"""Noise: what may be masked, in which forms, and that it depends on nothing but the row."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.train.masking import FAMILY, LATE, Masking, Noise, corrupt, distant

ROWS = 64


def row(prompt: int, length: int) -> Tensor:
    """Open places of a row whose answer starts at `prompt`."""
    return torch.arange(length) >= prompt


def many(opened: Tensor, block: int, masking: Masking) -> Noise:
    """Noise of many rows alike."""
    return Noise.stacked([corrupt(opened, block, masking, torch.Generator().manual_seed(n)) for n in range(ROWS)])


def test_draft_form_masks_all_but_the_first_of_a_block() -> None:
    """Prompts are spared, and in draft form exactly the first token of a block stays."""
    masked = many(row(8, 32), 8, Masking(draft_share=1.0, full_share=0.0)).masked
    assert not masked[:, :8].any()
    blocks = masked[:, 8:].reshape(ROWS, 3, 8)
    assert not blocks[:, :, 0].any()
    assert blocks[:, :, 1:].all()


def test_full_form_masks_every_open_place() -> None:
    """A wholly masked block keeps only its part of the prompt."""
    masked = many(row(11, 32), 8, Masking(0.0, 1.0)).masked
    assert masked[:, 11:].all() and not masked[:, :11].any()


def test_seeded_blocks_keep_their_first_token_and_lose_others_by_ratio() -> None:
    """With a seeded share of one the first token of a block always stays, and of the rest any part may be masked."""
    masked = many(row(8, 72), 8, Masking(0.0, 0.0, seeded_share=1.0)).masked[:, 8:].reshape(ROWS * 8, 8)
    left = masked.sum(dim=1)
    assert not masked[:, 0].any()
    assert set(left.tolist()) == set(range(8))


def test_a_seeded_share_changes_nothing_else() -> None:
    """The same draws decide with and without it; only first tokens that a mask had taken stay."""
    plain, seeded = (many(row(0, 64), 8, Masking(0.2, 0.1, seeded_share=share)).masked for share in (0.0, 0.7))
    places = torch.arange(64) % 8 != 0
    assert torch.equal(plain[:, places], seeded[:, places])
    assert (seeded <= plain).all() and not torch.equal(plain, seeded)


def test_the_family_draws_one_ratio_a_row() -> None:
    """Every place of a row is masked with the chance that the row was given, and rows are given all chances alike."""
    noise = Noise.stacked([corrupt(row(0, 512), 32, FAMILY, torch.Generator().manual_seed(n)) for n in range(200)])
    chance = noise.chance[:, 0]
    assert (noise.chance == chance[:, None]).all()
    assert (noise.masked.float().mean(dim=1) - chance).abs().max() < 0.12
    assert abs(float(chance.mean()) - 0.5) < 0.06 and 0 < float(chance.min()) < 0.05 and float(chance.max()) > 0.95


@given(st.integers(0, 2**40), st.sampled_from([2, 8, 16]), st.integers(1, 4), st.data())
def test_a_row_always_has_a_mask_and_only_where_it_may(seed: int, block: int, blocks: int, data: st.DataObject) -> None:
    """At least one open place is masked, never a closed one, whatever is drawn."""
    opened = row(data.draw(st.integers(0, block * blocks - 1)), block * blocks)
    for masking in (FAMILY, LATE, Masking(), Masking(1.0, 0.0)):
        masked = corrupt(opened, block, masking, torch.Generator().manual_seed(seed)).masked
        assert masked.any() and not (masked & ~opened).any()


@given(st.integers(0, 2**40), st.integers(0, 40))
def test_padding_changes_nothing(seed: int, padding: int) -> None:
    """The noise of a row is the same however many closed places follow it."""
    opened = row(5, 32)
    longer = torch.cat((opened, torch.zeros(padding, dtype=torch.bool)))
    alone, padded = (corrupt(o, 8, Masking(), torch.Generator().manual_seed(seed)) for o in (opened, longer))
    assert torch.equal(alone.masked, padded.masked[:32]) and torch.equal(alone.chance, padded.chance[:32])
    assert not padded.masked[32:].any()


def test_a_guess_at_a_distance_stands_behind_another_mask_of_its_block() -> None:
    """The first place of a block has a known token before it, whether the block before ends in masks or not."""
    masked = torch.tensor([[1, 1, 0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0, 0, 1]], dtype=torch.bool)
    wanted = [[0, 1, 0, 0, 0, 1, 1, 0], [0, 0, 1, 1, 0, 0, 0, 0]]
    assert distant(masked, 4).long().tolist() == wanted
