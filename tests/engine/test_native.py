"""Laws of the compiled pass: it is the network, and company changes no bit.

They hold in float32 and, where the processor has it, in bfloat16. Where instructions or compiler are missing `fast` runs by the
library, and what was the same bits is the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.config import ModelConfig
from engine.engine import Engine
from engine.library import LibraryPass
from engine.model.network import Network
from engine.native import CompiledPass
from engine.numeric import STRICT, fast
from engine.plan import Lora, Plan, Want, ahead, clean, noisy, quadratic
from engine.request import Mode
from engine.sampling import Draw, Logits, drawn
from kernels.cpu.forward import BUILDS
from kernels.head import Heat
from tests.engine.harness import EXACT_MODES, asked, events_of, loaded, nameless, output
from tests.engine.passes import PROMPT, Room
from tests.engine.small import random_network, small_config

JOBS = [
    (PROMPT[:40], clean((9,))),
    (PROMPT[3:290], noisy((8, *[100] * 7), Lora.ON)),
    (PROMPT[:3], quadratic((1, 2, 3, 4, 5), 100, Lora.ON)),
    (PROMPT[:130], noisy((100,) * 16, Lora.OFF)),
    (PROMPT[5:70], clean((9, 8, 7, 6, 5, 4, 3, 2, 1, 2, 3))),
    (PROMPT[:64], noisy((100,) * 32, Lora.ON)),
    (PROMPT[9:88], noisy((7, *[100] * 15), Lora.OFF, only=(3, 4, 9, 15))),
    (PROMPT[:77], ahead(clean((9, 8, 7, 6)), 16, 100)),
    ((), clean(PROMPT[:33])),
]


def shape(**changes: Any) -> ModelConfig:
    """A network whose sizes the compiled pass takes."""
    return replace(small_config(), **({"hidden_size": 64, "intermediate_size": 96, "head_dim": 32} | changes))


NETWORK = random_network(shape(), spread=4.0)
HERE = {dtype: CompiledPass.usable(NETWORK.config, dtype) for dtype in (torch.float32, fast().dtype)}
LEFT = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (0.02, 0.1)}
"""Of a row of logits, what rounding may leave it away from the network's, as a share of its length: the median, the worst."""

numbers = pytest.mark.parametrize("dtype", HERE, ids=str)


def room(dtype: torch.dtype, network: Network = NETWORK) -> Room:
    """Where compiled passes run."""
    found = Room(network, fast(dtype), pages=192)
    assert isinstance(found.forward, CompiledPass if HERE[dtype] else LibraryPass)
    return found


def plain(network: Network) -> Room:
    """Where the same passes run by the library."""
    found = Room(network, STRICT, pages=192)
    found.forward = LibraryPass(network, STRICT)
    return found


def rounded(network: Network) -> Network:
    """The network with weights that bfloat16 can hold, so that only activations differ."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 2 and "diffusion_head" not in name and "lora_b" not in name:
                parameter.copy_(parameter.to(torch.bfloat16))
    return network


def near(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    """The same up to what numbers of that kind round away."""
    error = (found.float() - wanted.float()).norm(dim=-1) / wanted.float().norm(dim=-1).clamp(min=1e-6)
    return bool(error.median() < LEFT[dtype][0] and error.max() < LEFT[dtype][1])


def same(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    """The same bits where the pass is compiled; by the library, the same up to rounding."""
    return torch.equal(found, wanted) if HERE[dtype] else near(found, wanted, dtype)


def logits(where: Room, order: Sequence[int]) -> Tensor:
    """One pass over some of the jobs."""
    return where.run(*[(where.prefilled(tokens), step) for tokens, step in map(JOBS.__getitem__, order)])


@numbers
@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 99),
    st.sampled_from([(32, 1, 1), (64, 4, 2), (96, 6, 2), (128, 5, 1), (64, 3, 3)]),
    st.sampled_from([32, 64, 128]),
    st.sampled_from([32, 96, 160]),
    st.sampled_from([128, 160]),
)
def test_it_is_the_network(
    dtype: torch.dtype, seed: int, sizes: tuple[int, int, int], head: int, inner: int, vocabulary: int
) -> None:
    """Logits of every kind of row are those of the plain network up to rounding."""
    hidden, queries, keys = sizes
    config = shape(
        hidden_size=hidden,
        num_attention_heads=queries,
        num_key_value_heads=keys,
        head_dim=head,
        intermediate_size=inner,
        vocab_size=vocabulary,
    )
    network = rounded(random_network(config, seed, spread=2.0))
    found, wanted = (logits(where, range(len(JOBS))) for where in (room(dtype, network), plain(network)))
    assert near(found, wanted, dtype)


@numbers
def test_engines_at_once_do_not_meet(dtype: torch.dtype) -> None:
    """Passes that several threads run at once, who have the process's helpers between them, say what each alone says."""
    wanted, before = logits(room(dtype), range(len(JOBS))), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with ThreadPoolExecutor(4) as hands:
            found = list(hands.map(lambda _: [logits(room(dtype), range(len(JOBS))) for _ in range(5)], range(4)))
    finally:
        torch.set_num_threads(before)
    assert all(same(each, wanted, dtype) for several in found for each in several)


def test_strict_is_compiled_too() -> None:
    """Where float32 can be compiled the exact policy has the same pass, and by the library another fingerprint."""
    where = Room(NETWORK, STRICT, pages=192)
    assert isinstance(where.forward, CompiledPass if HERE[torch.float32] else LibraryPass)
    if HERE[torch.float32]:
        assert torch.equal(logits(where, range(len(JOBS))), logits(room(torch.float32), range(len(JOBS))))
    assert (where.forward.kernels == plain(NETWORK).forward.kernels) is not HERE[torch.float32]


def test_how_wide_vectors_are_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 a processor with AVX-512 says to the bit what it says by AVX2 alone."""
    found, (build, float32) = logits(room(torch.float32), range(len(JOBS))), (BUILDS[torch.float32], torch.float32)
    monkeypatch.setitem(BUILDS, float32, replace(build, source=replace(build.source, sets=build.source.sets[-1:])))
    assert same(logits(room(float32), range(len(JOBS))), found, float32)


def test_strict_limits_threads_where_it_must() -> None:
    """By the library `strict` never runs on more threads than it can vouch for; a compiled pass may have them all."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        STRICT.prepare(NETWORK)
        assert torch.get_num_threads() == (8 if HERE[torch.float32] else 2)
        torch.set_num_threads(8)
        LibraryPass(NETWORK, STRICT)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@numbers
@pytest.mark.parametrize("broken", [None, float("nan"), float("inf")])
def test_it_says_what_a_row_comes_to(dtype: torch.dtype, broken: float | None) -> None:
    """Best id, its log-probability and where those of all ids begin are what torch finds in the same logits."""
    network, config = random_network(shape(), spread=4.0), shape()
    with torch.no_grad():
        head = network.diffusion_head.weight
        head[config.mask_token_id] = 3 * head[64]  # often the highest, and never the best
        head[[5, 31, 90]] = 2 * head[64]  # ties, within a vector and across
        if broken is not None:
            head[70, 0] = broken
    where = room(dtype, network)
    steps = [(where.prefilled(tokens), step) for tokens, step in JOBS]
    for cache, step in steps:
        cache.reserve(cache.filled + step.frame.clean)
    found = where.forward.logits(Plan.pack(steps), where.pool)
    wanted = Logits.of(torch.from_numpy(found.raw.copy()), config.mask_token_id)
    if broken is not None:
        finite = np.isfinite(found.logprob)
        assert np.array_equal(finite, np.isfinite(wanted.logprob)) and not finite.all()
        assert (found.best >= 0).all() and (found.best < config.vocab_size).all()
        return
    assert np.array_equal(found.best, wanted.best) and {5, 31, 90} & set(found.best.tolist()) == {5}
    assert np.array_equal(found.peak, wanted.peak) and (found.peak > found.raw[np.arange(len(found.best)), found.best]).any()
    for one, other in ((found.logprob, wanted.logprob), (found.mass, wanted.mass)):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@numbers
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5, 6), (6, 5, 4, 3, 2, 1, 0), (1, 3, 0, 4, 2), (2, 0, 6, 4)])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_company_changes_no_bit(dtype: torch.dtype, order: tuple[int, ...], threads: int) -> None:
    """Every row of a mixed plan gives the bits that it gives alone, on any number of threads."""
    where, before = room(dtype), torch.get_num_threads()
    alone = torch.cat([logits(where, [job]) for job in order])
    try:
        torch.set_num_threads(threads)
        mixed = logits(where, order)
    finally:
        torch.set_num_threads(before)
    assert same(mixed, alone, dtype)


@numbers
@pytest.mark.parametrize("chunk", [1, 7, 32, 100, 300])
def test_prefill_does_not_feel_its_chunks(dtype: torch.dtype, chunk: int) -> None:
    """Keys, values and the next logits are the same bits however the prompt is cut."""
    where, tokens = room(dtype), PROMPT[: 300 if chunk > 1 else 40]
    whole, cut = where.prefilled(tokens), where.prefilled(tokens, chunk)
    assert same(where.pool.kv[:, whole.pages], where.pool.kv[:, cut.pages], dtype)
    assert same(where.run((whole, clean((5,)))), where.run((cut, clean((5,)))), dtype)


@numbers
def test_one_row_equals_many(dtype: torch.dtype) -> None:
    """Verifying a block gives each row the very bits that single steps give, also across the end of a page."""
    where, block = room(dtype), (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8)
    cache, single = where.prefilled(PROMPT[:250]), where.prefilled(PROMPT[:250])
    together = where.run((cache, clean(block)))
    for index, token in enumerate(block):
        assert same(where.run((single, clean((token,))))[0], together[index], dtype)
        single.keep(1, (*PROMPT[:250], *block))


@numbers
@pytest.mark.parametrize("company", [(), (2, 4), (1,)])
def test_rows_that_nobody_asks_about_are_not_missed(dtype: torch.dtype, company: tuple[int, ...]) -> None:
    """Logits, and keys and values of every layer, are the same bits whether all rows are asked about, the last one or none."""
    where, tokens = room(dtype), PROMPT[40:59]
    told, kept = [], []
    for want in (Want.ALL, Want.LAST, Want.NONE):
        place = where.prefilled(PROMPT[:40])
        others = [(where.prefilled(before), step) for before, step in map(JOBS.__getitem__, company)]
        found = where.run((place, clean(tokens, want)), *others)
        told.append(found[: found.shape[0] - sum(len(step.wanted) for _, step in others)])
        kept.append(where.pool.kv[:, place.pages].flatten(1, 2)[:, :59])
    assert [len(each) for each in told] == [19, 1, 0] and same(told[0][-1:], told[1], dtype)
    assert all(same(kept[0], each, dtype) for each in kept[1:])


@numbers
def test_noisy_rows_leave_every_page_as_it_was(dtype: torch.dtype) -> None:
    """A denoise step changes no byte of the pool."""
    where = room(dtype)
    cache, other = where.prefilled(PROMPT[:60]), where.prefilled(PROMPT[:33])
    before = where.pool.kv.clone()
    where.run((cache, noisy((100,) * 16, Lora.ON)), (other, noisy((100,) * 16, Lora.OFF)))
    assert torch.equal(where.pool.kv, before)


@numbers
def test_positions_beyond_the_first_rotations(dtype: torch.dtype) -> None:
    """A sequence that grows past the positions told so far gives the bits of one that was told of them at once."""
    config = replace(shape(), max_position_embeddings=4096, rope=replace(shape().rope, original_max_position=512))
    network = random_network(config, spread=4.0)
    one, other = room(dtype, network), room(dtype, network)
    tokens = [(7 * n) % 99 for n in range(1100)]
    one.run((one.prefilled(PROMPT[:3]), clean((1,))))
    assert torch.equal(*(each.run((each.prefilled(tokens), clean((5,)))) for each in (one, other)))


@numbers
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_causal_modes_say_the_same(dtype: torch.dtype, temperature: float) -> None:
    """Under `fast`, too, speculation is lossless where the pass is compiled, alone and together; else each mode answers."""
    given_model = loaded(NETWORK)
    requests = [asked(mode, PROMPT[:37], 40, temperature=temperature, top_p=0.9) for mode in (Mode.AR, *EXACT_MODES)]
    together = events_of(Engine(given_model, fast(dtype)), *requests)
    texts = {output(together[request.id]) for request in requests}
    assert len(texts) == 1 if HERE[dtype] else all(texts)
    for request in requests:
        again = events_of(Engine(given_model, fast(dtype)), request)[request.id]
        assert nameless(again) == nameless(together[request.id]) if HERE[dtype] else output(again)


@numbers
@pytest.mark.parametrize("length", [480, 511, 512, 513, 1030])
def test_contexts_of_several_spans(dtype: torch.dtype, length: int) -> None:
    """A row that sees more keys than one step shows is still the network's, and alone it still has the bits of a block."""
    tokens, block = tuple((11 * n) % 97 for n in range(length)), (3, 1, 4, 1, 5)
    network = rounded(random_network(shape(), seed=5, spread=2.0))
    where, other = room(dtype, network), plain(network)
    for step in (clean(block), noisy((8, *[100] * 15), Lora.ON), noisy((100,) * 32, Lora.OFF)):
        found, wanted = (each.run((each.prefilled(tokens), step)) for each in (where, other))
        assert near(found, wanted, dtype)
    together, single = where.run((where.prefilled(tokens), clean(block))), where.prefilled(tokens)
    for index, token in enumerate(block):
        assert same(where.run((single, clean((token,))))[0], together[index], dtype)
        single.keep(1, (*tokens, *block))


@numbers
def test_more_noisy_rows_than_there_is_room_for(dtype: torch.dtype) -> None:
    """The compiled pass says so; the library takes any number."""
    where, step = room(dtype), noisy((100,) * 33, Lora.OFF)
    if not HERE[dtype]:
        assert len(where.run((where.prefilled(PROMPT[:9]), step))) == 33
        return
    with pytest.raises(ValueError, match="shorter blocks"):
        where.run((where.prefilled(PROMPT[:9]), step))


@numbers
@pytest.mark.parametrize("token", [-1, NETWORK.config.vocab_size, 1 << 40])
def test_compiled_code_reads_no_embedding_that_is_not_there(dtype: torch.dtype, token: int) -> None:
    """An id outside the vocabulary is an error, as it is for torch."""
    where = room(dtype)
    with pytest.raises(IndexError):
        where.run((where.prefilled(()), clean((token,))))


@numbers
@pytest.mark.parametrize("change", [{"hidden_size": 48}, {"head_dim": 16}, {"intermediate_size": 80}, {"vocab_size": 130}])
def test_other_sizes_run_by_the_library(dtype: torch.dtype, change: dict[str, int]) -> None:
    """What the compiled pass has no room for is decoded by torch, under another fingerprint."""
    network = random_network(shape(**change))
    assert isinstance(Room(network, fast(dtype)).forward, LibraryPass)
    with pytest.raises(ValueError, match="usable"):
        CompiledPass(network, dtype)
    fits, other = Engine(loaded(NETWORK), fast(dtype)), Engine(loaded(network), fast(dtype))
    assert (fits.fingerprint == other.fingerprint) is not HERE[dtype]


@numbers
@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 9),
    vocabulary=st.sampled_from([1, 2, 255, 256, 257, 1000, 1024, 2049]),
    spread=st.sampled_from([0.0, 0.3, 5.0, 1e4]),
    seed=st.integers(0, 1 << 30),
    data=st.data(),
)
def test_a_drawn_token_is_that_of_the_definition(
    dtype: torch.dtype, rows: int, vocabulary: int, spread: float, seed: int, data: st.DataObject
) -> None:
    """With and without a temperature, between equals, beside what is forbidden and at any position it is the same id."""
    generator = np.random.default_rng(seed)
    scores = (generator.standard_normal((rows, vocabulary)) * spread).astype(np.float32)
    scores[generator.random(scores.shape) < 0.3] = -np.inf
    temperature = generator.choice([0.0, 0.05, 0.7, 1.0, 3.0], rows).astype(np.float32)
    keys, positions = generator.integers(-(1 << 63), 1 << 63, rows), generator.integers(0, 1 << 40, rows)
    given = torch.from_numpy(scores), Heat(*map(torch.from_numpy, (temperature, keys, positions)))
    never = data.draw(st.integers(0, vocabulary - 1))
    assert compiled_draw(dtype)(*given, never).tolist() == drawn(*given, never).tolist()


@numbers
def test_a_drawn_token_does_not_feel_the_number_of_threads(dtype: torch.dtype) -> None:
    """One thread and four draw the same ids, and many of them differ from the best."""
    generator, before = torch.Generator().manual_seed(1), torch.get_num_threads()
    scores = torch.randn(300, 512, generator=generator)
    heat = Heat(torch.ones(300), torch.arange(300), torch.arange(300) * 7)
    try:
        told = []
        for threads in (1, 4):
            torch.set_num_threads(threads)
            told.append(compiled_draw(dtype)(scores, heat, 100).tolist())
    finally:
        torch.set_num_threads(before)
    assert told[0] == told[1] != scores.argmax(dim=1).tolist()


def test_what_is_drawn_from_must_be_of_its_kind() -> None:
    """Scores, temperatures, keys and positions of another dtype, shape or layout never reach the compiled code."""
    if not HERE[torch.float32]:
        return
    draw = compiled_draw(torch.float32)
    scores, warm, keys = torch.zeros(4, 32), torch.ones(4), torch.arange(4)
    assert len(draw(scores, Heat(warm, keys, keys), 0)) == 4
    for wrong, heat in (
        (scores.double(), Heat(warm, keys, keys)),
        (scores[:, ::2], Heat(warm, keys, keys)),
        (scores, Heat(warm[:3], keys, keys)),
        (scores, Heat(warm, keys.int(), keys)),
        (scores, Heat(warm, keys, torch.arange(8)[::2])),
    ):
        with pytest.raises(ValueError, match="must be float32"):
            draw(wrong, heat, 0)


def compiled_draw(dtype: torch.dtype) -> Draw:
    """The compiled one, or where there is none the definition."""
    return CompiledPass(NETWORK, dtype).draw if HERE[dtype] else drawn
