"""The dual-stream pass: its mask, what it may not see, and that it agrees with decoding."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.forward import run
from engine.model.network import Network
from engine.model.weights import Weights
from engine.numeric import Strict
from engine.pages import PagePool
from engine.plan import Lora, Plan, clean, noisy
from engine.train.objective import Masking, _attention, corrupt, joint_losses, visibility
from tests.engine.small import small_network

BLOCK = 4


def _dual(network: Network, noisy: Tensor, clean: Tensor, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """Logits of the noisy and of the clean half, each [n, V]."""
    n = clean.shape[0]
    hidden = network(torch.cat((noisy, clean))[None], torch.arange(n).repeat(2)[None], _attention(visibility(n, block)))
    logits = network.logits(hidden)[0]
    return logits[:n], logits[n:]


def test_visibility_of_two_blocks_is_the_published_table() -> None:
    """Two blocks of two: noisy rows see their block and earlier clean blocks, clean rows are causal."""
    expected = [
        "1100 0000", "1100 0000", "0011 1100", "0011 1100",
        "0000 1000", "0000 1100", "0000 1110", "0000 1111",
    ]  # fmt: skip
    found = ["".join(str(int(cell)) for cell in row) for row in visibility(4, 2).tolist()]
    assert [row.replace(" ", "") for row in expected] == found


def test_a_start_drops_only_noisy_rows() -> None:
    """Leaving out the prompt's noisy rows leaves every other cell of the mask as it was."""
    whole = visibility(12, 4)
    kept = torch.cat((torch.arange(8, 12), torch.arange(12, 24)))
    assert torch.equal(visibility(12, 4, start=8), whole[kept][:, kept])


def test_future_clean_tokens_do_not_move_causal_logits() -> None:
    """The clean half is strictly causal."""
    network = small_network()
    clean = torch.randint(0, 90, (12,), generator=torch.Generator().manual_seed(1))
    changed = clean.clone()
    changed[7:] = (changed[7:] + 3) % 90
    _, before = _dual(network, clean, clean)
    _, after = _dual(network, clean, changed)
    assert torch.allclose(before[:7], after[:7], atol=1e-5)
    assert not torch.allclose(before[7:], after[7:], atol=1e-3)


def test_own_clean_block_does_not_leak_into_noisy_logits() -> None:
    """A noisy row never sees the clean tokens of its own block or a later one."""
    network = small_network()
    clean = torch.randint(0, 90, (12,), generator=torch.Generator().manual_seed(2))
    noisy = torch.full((12,), network.config.mask_token_id)
    changed = clean.clone()
    changed[4:] = (changed[4:] + 5) % 90
    before, _ = _dual(network, noisy, clean)
    after, _ = _dual(network, noisy, changed)
    assert torch.allclose(before[:8], after[:8], atol=1e-5)
    assert not torch.allclose(before[8:], after[8:], atol=1e-3)


def test_training_sees_what_decoding_computes() -> None:
    """The noisy half's logits of each block are those of decoding that block over a causal cache of the clean ones before."""
    network = small_network(3)
    generator = torch.Generator().manual_seed(4)
    clean_ids = torch.randint(0, 90, (16,), generator=generator)
    masked = torch.rand(16, generator=generator) < 0.6
    noisy_ids = torch.where(masked, network.config.mask_token_id, clean_ids)
    trained, _ = _dual(network, noisy_ids, clean_ids)
    weights, strict = Weights(network, torch.float32), Strict()
    for start in range(0, 16, BLOCK):
        pool = PagePool(network.config, 4, torch.float32)
        cache = KVCache(pool, b"")
        assert cache.reserve(start + BLOCK)
        if start:
            before = clean_ids[:start].tolist()
            run(weights, strict, Plan.pack([(cache, clean(before))], strict.padded), pool)
            cache.keep(start, before)
        step = noisy(noisy_ids[start : start + BLOCK].tolist(), Lora.OFF)
        found = run(weights, strict, Plan.pack([(cache, step)], strict.padded), pool)
        assert torch.allclose(found, trained[start : start + BLOCK], atol=1e-4)


def test_joint_losses_equal_the_definition() -> None:
    """Sums and counts equal cross-entropies computed position by position, with and without a start."""
    network = small_network()
    tokens = torch.randint(0, 90, (2, 12), generator=torch.Generator().manual_seed(3))
    scored = torch.zeros(2, 12, dtype=torch.bool)
    scored[:, 5:] = True
    masked = scored & (torch.rand(2, 12, generator=torch.Generator().manual_seed(4)) < 0.6)
    expected_causal, expected_diffusion = 0.0, 0.0
    for row in range(2):
        noisy = torch.where(masked[row], network.config.mask_token_id, tokens[row])
        diffusion, causal = _dual(network, noisy, tokens[row])
        for i in range(12):
            if masked[row, i]:
                expected_diffusion -= diffusion[i].log_softmax(-1)[tokens[row, i]].item()
            if i > 0 and scored[row, i]:
                expected_causal -= causal[i - 1].log_softmax(-1)[tokens[row, i]].item()
    for start in (0, 4):
        losses = joint_losses(network, tokens, scored, masked, BLOCK, start)
        assert abs(losses.causal_sum.item() - expected_causal) < 1e-2
        assert abs(losses.diffusion_sum.item() - expected_diffusion) < 1e-2
        assert (losses.causal_tokens, losses.masked_tokens) == (int(scored.sum()), int(masked.sum()))


def test_corruption_spares_prompts_and_keeps_draft_heads() -> None:
    """Only open positions are masked, and in draft form exactly the first token of a block stays."""
    generator = torch.Generator().manual_seed(5)
    answer = torch.zeros(64, 32, dtype=torch.bool)
    answer[:, 8:] = True
    masked = corrupt(answer, 8, Masking(draft_share=1.0, full_share=0.0), generator)
    assert not masked[:, :8].any()
    blocks = masked[:, 8:].reshape(64, 3, 8)
    assert not blocks[:, :, 0].any()
    assert blocks[:, :, 1:].all()
    assert corrupt(answer, 8, Masking(0.0, 1.0), generator)[:, 8:].all()
