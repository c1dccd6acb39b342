"""Laws of a pass: strict numerics, the LoRA gate, and what a pass leaves behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.cache import KVCache
from engine.forward import numeric_fingerprint, run, settle_threads
from engine.model.network import Network
from engine.plan import Lora, Plan, Step, Want, clean, noisy, quadratic
from tests.engine.harness import causal_attend, model

NETWORK = model().network
CONFIG = model().config
PROMPT = tuple((7 * n) % 99 for n in range(300))


def prefilled(tokens: tuple[int, ...], chunk: int = 128, network: Network = NETWORK) -> KVCache:
    """A cache that holds `tokens`, written in passes of `chunk`."""
    cache = KVCache(network.config)
    for start in range(0, len(tokens), chunk):
        part = tokens[start : start + chunk]
        run(network, Plan.pack([(start, clean(part, Want.NONE))]), [cache])
        cache.commit(len(part))
    return cache


def logits(step: Step, cache: KVCache, network: Network = NETWORK) -> Tensor:
    """The step's logits on `cache`, alone in its plan."""
    return run(network, Plan.pack([(cache.committed, step)]), [cache])


@pytest.mark.parametrize("chunk", [1, 7, 32, 100, 300])
def test_prefill_does_not_feel_its_chunks(chunk: int) -> None:
    """Keys, values and the next logits are the same bits however the prompt is cut."""
    settle_threads()
    tokens = PROMPT[: 300 if chunk > 1 else 40]
    whole, cut = prefilled(tokens), prefilled(tokens, chunk)
    assert torch.equal(whole.snapshot(), cut.snapshot())
    assert torch.equal(logits(clean((5,)), whole), logits(clean((5,)), cut))


def test_one_row_equals_many() -> None:
    """Verifying a block gives each row the very bits that single steps give."""
    cache, single = prefilled(PROMPT[:250]), prefilled(PROMPT[:250])
    block = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8)
    together = logits(clean(block), cache)
    for index, token in enumerate(block):
        assert torch.equal(logits(clean((token,)), single)[0], together[index])
        single.commit(1)
    cache.commit(len(block))
    assert torch.equal(cache.snapshot(), single.snapshot())


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_a_sequence_does_not_feel_its_neighbours(order: tuple[int, ...]) -> None:
    """Every row of a mixed plan, drafts included, gives the bits that it gives alone."""
    jobs = [
        (PROMPT[:40], clean((9,))),
        (PROMPT[3:290], noisy((8, *[100] * 7), Lora.ON)),
        (PROMPT[:3], quadratic((1, 2, 3, 4, 5), 100, Lora.ON)),
        (PROMPT[:130], noisy((100,) * 16, Lora.OFF)),
    ]
    chosen = [jobs[index] for index in order]
    caches = [prefilled(tokens) for tokens, _ in chosen]
    steps = [(cache.committed, step) for cache, (_, step) in zip(caches, chosen, strict=True)]
    mixed = run(NETWORK, Plan.pack(steps), caches)
    alone = torch.cat([logits(step, prefilled(tokens)) for tokens, step in chosen])
    assert torch.equal(mixed, alone)


def test_noisy_rows_leave_the_cache_as_it_was() -> None:
    """A denoise step changes no byte of the cache; a quadratic step touches the slots of its drafts alone."""
    cache = prefilled(PROMPT[:60])
    cache.reserve(256)
    before = torch.cat(cache._chunks).clone()
    logits(noisy((100,) * 16, Lora.ON), cache)
    assert torch.equal(torch.cat(cache._chunks), before)
    logits(quadratic((1, 2, 3), 100, Lora.ON), cache)
    changed = (torch.cat(cache._chunks) != before).any(-1).flatten(0, -2).any(0)
    assert changed.nonzero().flatten().tolist() == [60, 61, 62]


def test_the_drafter_lora_changes_drafts_only() -> None:
    """Noisy logits differ with the LoRA on; causal rows of the same plan do not."""
    cache = prefilled(PROMPT[:20])
    on, off = (logits(noisy((5, 100, 100), lora), cache) for lora in (Lora.ON, Lora.OFF))
    assert not torch.allclose(on, off)
    on, off = (logits(quadratic((5, 6), 100, lora), cache) for lora in (Lora.ON, Lora.OFF))
    assert torch.equal(on[:2], off[:2]) and not torch.allclose(on[2:], off[2:])


def test_a_pass_is_the_network() -> None:
    """Tiles and chunks compute the network's plain forward, to rounding."""
    tokens = torch.tensor(PROMPT[:290])

    plain = NETWORK.logits(NETWORK(tokens, torch.arange(290), causal_attend))
    found = run(NETWORK, Plan.pack([(0, clean(PROMPT[:290]))]), [KVCache(CONFIG)])
    torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-3)


def test_the_fingerprint_names_the_arithmetic() -> None:
    """The fingerprint is stable and follows the thread count, which can change a sum."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one, again = numeric_fingerprint(), numeric_fingerprint()
        torch.set_num_threads(2)
        assert one == again != numeric_fingerprint()
    finally:
        torch.set_num_threads(threads)
    assert len(bytes.fromhex(one)) == 32


def test_strict_limits_threads() -> None:
    """`strict` never runs on more threads than it can vouch for."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        settle_threads()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
