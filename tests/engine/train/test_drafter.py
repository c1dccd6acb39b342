"""The drafter's loss against its definition, block by block, and that only the LoRA learns from it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.model.network import Network
from engine.train import drafter
from engine.train.batches import Batch
from engine.train.corpus import Example
from engine.train.drafter import drafter_losses, place_loss
from engine.train.streams import Noisy
from tests.engine.harness import causal_attend
from tests.engine.small import small_network
from tests.engine.train.rows import END, random_rows

BLOCK, CPU = 4, torch.device("cpu")
ROWS = random_rows((5, 14), (3, 21), (8, 10))
STARTS = [6, 3, 9]
SEEDS = (1, 2, 3)


def literal(drafted: Tensor, read: Tensor, candidates: int) -> float:
    """The loss of one place, from the published formulas, with loops."""
    kept = {*drafted.topk(candidates).indices.tolist(), *read.topk(candidates).indices.tolist()}

    def shares(logits: Tensor, temperature: float) -> dict[int, float]:
        grown = {token: math.exp(float(logits[token]) / temperature) for token in kept}
        return {token: value / sum(grown.values()) for token, value in grown.items()}

    p, q = shares(read, 3.0), shares(drafted, 3.0)
    kl = sum(p[token] * math.log(p[token] / q[token]) for token in kept)
    variation = sum(abs(p[token] - q[token]) for token in kept) / 2
    share = math.exp(-0.5 * (1 - variation))
    return share * kl + (1 - share) * variation - math.log(shares(drafted, 1.0)[int(read.argmax())])


@pytest.mark.parametrize("candidates", [200, 8])
def test_a_place_is_scored_by_the_published_formulas(candidates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """KL and total variation at temperature 3 over the union of the likeliest, plus the cross-entropy at temperature 1."""
    monkeypatch.setattr(drafter, "CANDIDATES", candidates)
    drafted, read = torch.randn(2, 5, 300, generator=torch.Generator().manual_seed(1)).mul(3)
    found = place_loss(drafted, read)
    for index in range(5):
        assert float(found[index]) == pytest.approx(literal(drafted[index], read[index], candidates), rel=1e-4)


def test_equal_opinions_leave_only_the_entropy() -> None:
    """Where drafter and verifier agree there is nothing to learn but to be surer."""
    logits = torch.randn(4, 90, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(place_loss(logits, logits), -logits.log_softmax(-1).max(dim=-1).values, atol=1e-5)


def one_block(network: Network, row: Example, start: int, ahead: bool, noise: Tensor) -> tuple[float, int]:
    """Draft, verify and score one block with passes of its own, as decoding would."""
    text = torch.tensor([*row.ids, *(END,) * BLOCK])
    known = start if ahead else start + 1
    shown = torch.cat((text[:known], torch.full((start + BLOCK - known,), network.config.mask_token_id)))
    size = start + BLOCK
    seen = torch.ones(size, size, dtype=torch.bool).tril()
    seen[start:, start:] = True

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (x.transpose(-2, -3) for x in (query, key, value))
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, enable_gqa=True)
        return mixed.transpose(-2, -3)

    gate = (torch.arange(size) >= start).float()
    drafted = network.logits(network(shown, torch.arange(size), attend, draft_gate=gate))[start + 1 :]
    draft = pick(drafted, noise, network)
    read_text = torch.cat((text[: start + 1], draft))
    read = network.logits(network(read_text, torch.arange(size), causal_attend))[start:-1]
    wanted = pick(read, noise, network)
    active = BLOCK - 1
    for place in range(BLOCK - 1):
        if draft[place] != wanted[place] or draft[place] == END:
            active = place + 1
            break
    taken = int((draft == wanted)[:active].sum())
    return float(place_loss(drafted[:active], read[:active]).mean()), taken


def pick(logits: Tensor, noise: Tensor, network: Network) -> Tensor:
    """The likeliest token under the noise, never the mask."""
    noised = logits + noise
    noised[:, network.config.mask_token_id] = -torch.inf
    return noised.argmax(dim=-1)


@pytest.mark.parametrize("seed", [0, 4])
def test_a_batch_is_its_blocks_one_by_one(seed: int) -> None:
    """Total, number of blocks and accepted drafts are those of every block drafted and verified by itself."""
    network = small_network(seed, spread=3.0)
    batch = Batch.of(ROWS, END)
    found = drafter_losses(network, batch, Noisy.of(batch, torch.tensor(STARTS), BLOCK), SEEDS)
    total, taken, blocks, forms = 0.0, 0, 0, set[bool]()
    for row, first, drawn in zip(ROWS, STARTS, SEEDS, strict=True):
        count = -(-(len(row.ids) - first) // BLOCK)
        ahead, noise = drafter._drawn([drawn], [count], (BLOCK - 1, network.config.vocab_size), CPU)
        forms |= set(ahead.tolist())
        for index in range(count):
            loss, accepted = one_block(network, row, first + index * BLOCK, bool(ahead[index]), noise[index])
            total, taken, blocks = total + loss, taken + accepted, blocks + 1
    assert found.blocks == blocks and forms == {True, False}
    assert int(found.accepted) == taken
    assert float(found.total) == pytest.approx(total, rel=1e-3)


def test_one_block_in_ten_is_greedy_and_half_are_drafted_ahead() -> None:
    """A tenth of the blocks is drawn without noise, the others at temperature 1; half of each do not see their first token."""
    ahead, noise = drafter._drawn([5], [4000], (3, 7), CPU)
    greedy = (noise == 0).all(dim=-1).all(dim=-1)
    assert abs(float(greedy.float().mean()) - 0.1) < 0.02
    assert all(abs(float(ahead[which].float().mean()) - 0.5) < 0.1 for which in (greedy, ~greedy))
    assert float(noise[~greedy].mean()) == pytest.approx(0.5772, abs=0.02)


def test_only_the_lora_learns_and_it_learns() -> None:
    """With the base frozen a few steps lower the loss, and nothing but the LoRA has a gradient."""
    network = small_network(1, lora=False, spread=3.0)
    pairs = [parameter for name, parameter in network.named_parameters() if "lora_" in name]
    for parameter in pairs:
        parameter.requires_grad_(True)
    batch = Batch.of(ROWS, END)
    noisy = Noisy.of(batch, torch.tensor(STARTS), BLOCK)
    optimiser, seen = torch.optim.Adam(pairs, lr=0.02), []
    for _ in range(25):
        found = drafter_losses(network, batch, noisy, SEEDS)
        seen.append(float(found.total.detach()))
        optimiser.zero_grad()
        found.total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert min(seen[-5:]) < 0.8 * seen[0]
    assert [name for name, parameter in network.named_parameters() if parameter.grad is not None and "lora_" not in name] == []
