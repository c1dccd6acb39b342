"""The dual-stream pass: its mask, what it may not see, and that it agrees with decoding."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.cache import KVCache
from engine.library import run
from engine.model.network import Network
from engine.model.weights import Weights
from engine.numeric import STRICT
from engine.pages import PagePool
from engine.plan import Lora, Plan, clean, noisy
from engine.train.batches import Batch
from engine.train.streams import STRIDE, Noisy, Packed, causal_spans
from kernels.cpu.spans import seen
from tests.engine.small import random_network, small_config, small_network
from tests.engine.train.rows import END, causal_logits, dual_logits, packed_logits, random_rows

BLOCK = 4


def whole(tokens: Tensor, block: int = BLOCK) -> tuple[Batch, Noisy]:
    """One row of which everything is answer."""
    batch = Batch(tokens[None], torch.tensor([0]), torch.tensor([len(tokens)]), END)
    return batch, Noisy.of(batch, torch.tensor([0]), block)


def dual(network: Network, shown: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the noisy and of the clean half, each [n, V]."""
    found = dual_logits(network, *whole(tokens), shown[None])
    return found[0][0], found[1][0]


def test_visibility_of_two_blocks_is_the_published_table() -> None:
    """Two blocks of two: noisy rows see their block and earlier clean blocks."""
    expected = ["11000000", "11000000", "00111100", "00111100"]
    found = seen(whole(torch.arange(4), 2)[1].sees(4), 8)[0, :4]
    assert ["".join(str(int(cell)) for cell in row) for row in found.tolist()] == expected


def test_a_verifying_row_sees_itself_and_the_past() -> None:
    """Read causally, the places of a block see those before them in it and earlier clean blocks."""
    expected = ["10000000", "11000000", "00101100", "00111100"]
    found = seen(whole(torch.arange(4), 2)[1].verifies(4), 8)[0, :4]
    assert ["".join(str(int(cell)) for cell in row) for row in found.tolist()] == expected


def test_open_places_are_the_answer_and_what_fills_its_last_block() -> None:
    """Rows of unlike length in one batch: prompts and padding blocks are closed, the end token fills the last block."""
    batch = Batch.of(random_rows((6, 10), (2, 5)), END)
    found = Noisy.of(batch, torch.tensor([4, 0]), BLOCK)
    assert found.opened.int().tolist() == [[0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1]]
    assert found.index[0].tolist() == list(range(4, 12))
    assert found.tokens[0].tolist() == [*batch.tokens[0, 4:10].tolist(), END, END]
    shorter = Noisy.of(Batch.of(random_rows((2, 12), (2, 4)), END), torch.tensor([0, 0]), BLOCK)
    assert shorter.opened[1].int().tolist() == [0, 0, 1, 1] + [0] * 8


def test_future_clean_tokens_do_not_move_causal_logits() -> None:
    """The clean half is strictly causal."""
    network = small_network()
    tokens = torch.randint(0, 90, (12,), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[7:] = (changed[7:] + 3) % 90
    _, before = dual(network, tokens, tokens)
    _, after = dual(network, tokens, changed)
    assert torch.allclose(before[:7], after[:7], atol=1e-5)
    assert not torch.allclose(before[7:], after[7:], atol=1e-3)


def test_own_clean_block_does_not_leak_into_noisy_logits() -> None:
    """A noisy row never sees the clean tokens of its own block or a later one."""
    network = small_network()
    tokens = torch.randint(0, 90, (12,), generator=torch.Generator().manual_seed(2))
    masks = torch.full((12,), network.config.mask_token_id)
    changed = tokens.clone()
    changed[4:] = (changed[4:] + 5) % 90
    before, _ = dual(network, masks, tokens)
    after, _ = dual(network, masks, changed)
    assert torch.allclose(before[:8], after[:8], atol=1e-5)
    assert not torch.allclose(before[8:], after[8:], atol=1e-3)


def test_training_sees_what_decoding_computes() -> None:
    """The noisy half's logits of each block are those of decoding that block over a causal cache of the clean ones before."""
    network = small_network(3)
    generator = torch.Generator().manual_seed(4)
    tokens = torch.randint(0, 90, (16,), generator=generator)
    shown = torch.where(torch.rand(16, generator=generator) < 0.6, network.config.mask_token_id, tokens)
    trained, _ = dual(network, shown, tokens)
    weights, strict = Weights(network, torch.float32), STRICT
    for start in range(0, 16, BLOCK):
        pool = PagePool(network.config, 4, torch.float32)
        cache = KVCache(pool, b"")
        assert cache.reserve(start + BLOCK)
        if start:
            before = tokens[:start].tolist()
            run(weights, strict, Plan.pack([(cache, clean(before))], strict.padded), pool)
            cache.keep(start, before)
        step = noisy(shown[start : start + BLOCK].tolist(), Lora.OFF)
        found = run(weights, strict, Plan.pack([(cache, step)], strict.padded), pool)
        assert torch.allclose(found, trained[start : start + BLOCK], atol=1e-4)


def test_company_and_padding_change_nothing() -> None:
    """Each row of a ragged batch, blocks starting anywhere, has the logits that it has alone."""
    network, rows, starts = small_network(5), random_rows((6, 22), (3, 9), (17, 18)), [5, 3, 17]
    batch = Batch.of(rows, END)
    together = Noisy.of(batch, torch.tensor(starts), BLOCK)
    shown = torch.where(together.opened, network.config.mask_token_id, together.tokens)
    blurred, clean_half = dual_logits(network, batch, together, shown)
    for index, (row, start) in enumerate(zip(rows, starts, strict=True)):
        single = Batch.of([row], END)
        alone = Noisy.of(single, torch.tensor([start]), BLOCK)
        places = alone.index.shape[1]
        wanted = dual_logits(network, single, alone, shown[index : index + 1, :places])
        assert torch.allclose(blurred[index, :places], wanted[0][0], atol=1e-4)
        assert torch.allclose(clean_half[index, : len(row.ids)], wanted[1][0], atol=1e-4)


def test_copies_of_a_row_do_not_know_of_each_other() -> None:
    """Each copy of the noisy half has the logits that it has as the only one, and the clean half is as ever."""
    network, rows, starts = small_network(7), random_rows((6, 14), (3, 9)), torch.tensor([4, 0])
    batch = Batch.of(rows, END)
    single, double = Noisy.of(batch, starts, BLOCK), Noisy.of(batch, starts, BLOCK, copies=2)
    masks, truth = torch.full_like(single.tokens, network.config.mask_token_id), single.tokens
    first, clean_half = dual_logits(network, batch, single, masks)
    second, _ = dual_logits(network, batch, single, truth)
    both, beside = dual_logits(network, batch, double, torch.cat((masks, truth), dim=1))
    assert double.opened.equal(single.opened.repeat(1, 2))
    assert torch.allclose(both, torch.cat((first, second), dim=1), atol=1e-4)
    assert torch.allclose(beside, clean_half, atol=1e-4)


def test_verifying_a_draft_is_reading_it() -> None:
    """A block read in the noisy half has the causal logits of the text that it would make."""
    network, tokens = small_network(6), torch.tensor(random_rows((1, 16), seed=3)[0].ids)
    batch, places = whole(tokens)
    draft = (tokens + 7) % 90
    both = torch.cat((draft, tokens))[None]
    logits = packed_logits(network, both, places, places.verifies(16), places.real(batch))[0, :16]
    for start in range(0, 16, BLOCK):
        text = torch.cat((tokens[:start], draft[start : start + BLOCK]))
        assert torch.allclose(logits[start : start + BLOCK], causal_logits(network, text)[start:], atol=1e-4)


def test_padding_is_not_computed() -> None:
    """Of rows of unlike length what runs through the network is their tokens and the blocks that begin in them, and filler."""
    rows = random_rows((2, 9), (5, 30))
    batch = Batch.of(rows, END)
    noisy = Noisy.of(batch, torch.tensor([0, 4]), BLOCK)
    real = noisy.real(batch)
    packed = Packed(real, noisy.sees(30), real)
    tokens = packed(torch.cat((noisy.tokens, batch.tokens), dim=1))
    expected = [*rows[0].ids, *(END,) * 3, *rows[0].ids, *rows[1].ids[4:], *(END,) * 2, *rows[1].ids]
    assert tokens.tolist()[: len(expected)] == expected
    assert packed(noisy.positions(30)).tolist()[: len(expected)] == [*range(12), *range(9), *range(4, 32), *range(30)]
    assert packed.asked(tokens[packed.wanted]).tolist() == expected


@given(st.lists(st.integers(1, 600), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_passes_come_in_few_lengths(lengths: list[int], random: Random) -> None:
    """Places and wanted ones are filled up to a multiple, with less than two of it, whatever rows there are."""
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    some = real & torch.tensor([[random.random() < 0.4 for _ in row] for row in real.tolist()])
    packed = Packed(real, causal_spans(len(lengths), max(lengths), real.device), some)
    places, asked = len(packed(real)), len(packed.wanted)
    assert places % STRIDE == asked % STRIDE == 0
    assert places - sum(lengths) < 2 * STRIDE > STRIDE > asked - int(some.sum())
    assert packed.asked(packed(some)[packed.wanted]).all()


def test_filler_is_seen_by_nobody_and_sees_nothing() -> None:
    """Its attention is nothing, and a change of what it shows moves neither the others' hidden states nor any gradient."""
    network = random_network(replace(small_config(), head_dim=32), 8).requires_grad_(True)
    batch = Batch.of(random_rows((6, 22), (3, 9)), END)
    real = batch.inside()
    packed = Packed(real, causal_spans(2, 22, real.device), real)
    tokens, positions = packed(batch.tokens), packed(torch.arange(22).expand_as(real))
    told = []
    for filler in (tokens[0], (tokens[0] + 5) % 90):
        network.zero_grad()
        shown = torch.where(torch.arange(len(tokens)) < int(real.sum()), tokens, filler)
        asked = packed.asked(network(shown, positions, packed.attend, wanted=packed.wanted))
        asked.square().sum().backward()  # type: ignore[no-untyped-call]
        told.append([asked.detach(), *(each.grad.clone() for each in network.parameters() if each.grad is not None)])
    assert len(told[0]) == len(told[1]) > 1
    for left, right in zip(*told, strict=True):
        assert torch.equal(left, right)
    query = torch.ones(len(tokens), 4, 32)
    assert not packed.attend(0, query, query[:, :2], query[:, :2])[int(real.sum()) :].any()


@pytest.mark.parametrize("head", [16, 32])
def test_what_is_not_asked_for_changes_nothing(head: int) -> None:
    """The hidden states of some places, and all gradients, are those of a pass that computes every place to its end."""
    network = random_network(replace(small_config(), head_dim=head), 8).requires_grad_(True)
    batch = Batch.of(random_rows((6, 22), (3, 9), (17, 18)), END)
    generator = torch.Generator().manual_seed(9)
    real = batch.inside()
    some = real & (torch.rand(real.shape, generator=generator) < 0.3)
    wanted, everything = (Packed(real, causal_spans(3, 22, real.device), who) for who in (some, real))
    told = []
    for packed in (wanted, everything):
        positions = packed(torch.arange(real.shape[1]).expand_as(real))
        hidden = network(packed(batch.tokens), positions, packed.attend, wanted=packed.wanted)
        asked = wanted.asked(hidden) if packed is wanted else hidden[wanted.asked(wanted.wanted)]
        network.zero_grad()
        asked.square().sum().backward()
        told.append([asked.detach(), *(each.grad.clone() for each in network.parameters() if each.grad is not None)])
    assert len(told[0]) == len(told[1]) > 1
    for left, right in zip(*told, strict=True):
        assert torch.allclose(left, right, atol=1e-4, rtol=1e-4)
