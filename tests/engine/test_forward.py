"""Laws of a pass: strict numerics, the LoRA gate, and what a pass leaves behind."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from engine import numeric
from engine.numeric import STRICT, Arithmetic, fast, numeric_fingerprint
from engine.plan import Lora, ahead, clean, noisy, quadratic
from tests.engine.harness import causal_attend, model, snapshot
from tests.engine.passes import PROMPT, Room

NETWORK = model().network
JOBS = [
    (PROMPT[:40], clean((9,))),
    (PROMPT[3:290], noisy((8, *[100] * 7), Lora.ON)),
    (PROMPT[:3], quadratic((1, 2, 3, 4, 5), 100, Lora.ON)),
    (PROMPT[:130], noisy((100,) * 16, Lora.OFF)),
    (PROMPT[5:70], clean((9,))),
    (PROMPT[9:88], noisy((7, *[100] * 15), Lora.OFF, only=(3, 4, 9, 15))),
    (PROMPT[:77], ahead(clean((9, 8, 7, 6)), 16, 100)),
]


@pytest.mark.parametrize("chunk", [1, 7, 32, 100, 300])
def test_prefill_does_not_feel_its_chunks(chunk: int) -> None:
    """Keys, values and the next logits are the same bits however the prompt is cut."""
    room, tokens = Room(), PROMPT[: 300 if chunk > 1 else 40]
    whole, cut = room.prefilled(tokens), room.prefilled(tokens, chunk)
    assert torch.equal(snapshot(whole), snapshot(cut))
    assert torch.equal(room.run((whole, clean((5,)))), room.run((cut, clean((5,)))))


def test_one_row_equals_many() -> None:
    """Verifying a block gives each row the very bits that single steps give."""
    room, block = Room(), (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8)
    cache, single = room.prefilled(PROMPT[:250]), room.prefilled(PROMPT[:250])
    together = room.run((cache, clean(block)))
    for index, token in enumerate(block):
        assert torch.equal(room.run((single, clean((token,))))[0], together[index])
        single.keep(1, (*PROMPT[:250], *block))
    cache.keep(len(block), (*PROMPT[:250], *block))
    assert torch.equal(snapshot(cache), snapshot(single))


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5, 6), (6, 5, 4, 3, 2, 1, 0), (1, 3, 6, 0, 4, 5, 2), (2, 0, 4), (5, 1)])
def test_a_sequence_does_not_feel_its_neighbours(order: tuple[int, ...]) -> None:
    """Every row of a mixed plan, drafts included, gives the bits that it gives alone."""
    room = Room()
    chosen = [(room.prefilled(tokens), step) for tokens, step in map(JOBS.__getitem__, order)]
    mixed = room.run(*chosen)
    assert torch.equal(mixed, torch.cat([room.run(job) for job in chosen]))


@pytest.mark.parametrize("arithmetic", [STRICT, fast(torch.float32)], ids=["strict", "fast"])
def test_noisy_rows_leave_every_page_as_it_was(arithmetic: Arithmetic) -> None:
    """A denoise step changes no byte of the pool; a quadratic step touches the slots of its drafts alone."""
    room = Room(arithmetic=arithmetic)
    cache, other = room.prefilled(PROMPT[:60]), room.prefilled(PROMPT[:33])
    assert cache.reserve(256)

    def digest() -> str:
        return hashlib.sha256(room.pool.kv.numpy().tobytes()).hexdigest()

    before, held = digest(), room.pool.kv.clone()
    room.run((cache, noisy((100,) * 16, Lora.ON)), (other, noisy((100,) * 16, Lora.OFF)))
    assert digest() == before
    room.run((cache, quadratic((1, 2, 3), 100, Lora.ON)), (other, noisy((100,) * 5, Lora.OFF)))
    changed = (room.pool.kv != held).flatten(3).any(-1).any(0).nonzero().tolist()
    assert changed == [[cache.pages[1], 28], [cache.pages[1], 29], [cache.pages[1], 30]]


def test_the_drafter_lora_changes_drafts_only() -> None:
    """Noisy logits differ with the LoRA on; causal rows of the same plan do not."""
    room = Room()
    cache = room.prefilled(PROMPT[:20])
    on, off = (room.run((cache, noisy((5, 100, 100), lora))) for lora in (Lora.ON, Lora.OFF))
    assert not torch.allclose(on, off)
    on, off = (room.run((cache, quadratic((5, 6), 100, lora))) for lora in (Lora.ON, Lora.OFF))
    assert torch.equal(on[:2], off[:2]) and not torch.allclose(on[2:], off[2:])


@pytest.mark.parametrize("arithmetic", [STRICT, fast(torch.float32)], ids=["strict", "fast"])
def test_a_pass_is_the_network(arithmetic: Arithmetic) -> None:
    """Either policy computes the network's plain forward, to rounding."""
    room = Room(arithmetic=arithmetic)
    tokens = torch.tensor(PROMPT[:290])
    plain = NETWORK.logits(NETWORK(tokens, torch.arange(290), causal_attend))
    found = room.run((room.prefilled(()), clean(PROMPT[:290])))
    torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-3)


def test_fast_is_strict_to_rounding() -> None:
    """Both policies give every row of a mixed plan the same logits, to rounding: they share one visibility rule."""
    found = []
    for arithmetic in (STRICT, fast(torch.float32)):
        room = Room(arithmetic=arithmetic)
        found.append(room.run(*[(room.prefilled(tokens), step) for tokens, step in JOBS]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_the_fingerprint_names_the_arithmetic() -> None:
    """The fingerprint is stable and follows policy, dtype, kernels and, by the library, threads: all that can change a sum."""
    threads = torch.get_num_threads()
    strict = STRICT
    try:
        torch.set_num_threads(1)
        one, again = numeric_fingerprint(strict, "torch"), numeric_fingerprint(strict, "torch")
        compiled = numeric_fingerprint(strict, "compiled")
        others = {numeric_fingerprint(fast(dtype), "torch") for dtype in (torch.float32, torch.bfloat16)}
        torch.set_num_threads(2)
        assert one == again != numeric_fingerprint(strict, "torch")
        assert compiled == numeric_fingerprint(strict, "compiled") != one
        others.add(numeric_fingerprint(fast(torch.bfloat16), "compiled"))
    finally:
        torch.set_num_threads(threads)
    assert len(bytes.fromhex(one)) == 32 and len(others | {one}) == 4


@pytest.mark.parametrize("name", ["sampling.py", "attend.py", "model/rope.py", "modes/ar.py"])
def test_the_fingerprint_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever picks or computes a token changes it with its source, in whatever folder the room lies; the trainer does not."""
    room = tmp_path / "engine"
    shutil.copytree(Path(numeric.__file__).parent, room, ignore=shutil.ignore_patterns("tiny", "__pycache__"))
    here = numeric_fingerprint(STRICT, "compiled")
    monkeypatch.setattr(numeric, "__file__", str(room / "numeric.py"))
    assert numeric_fingerprint(STRICT, "compiled") == here
    with (room / "train" / "lora.py").open("a", encoding="utf-8") as source:
        source.write("# another trainer\n")
    assert numeric_fingerprint(STRICT, "compiled") == here
    with (room / name).open("a", encoding="utf-8") as source:
        source.write("# another pick\n")
    assert numeric_fingerprint(STRICT, "compiled") != here
