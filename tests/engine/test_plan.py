"""Laws of the plan: who sees whom, and where rows lie."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from engine.cache import KVCache
from engine.forward import PlanAttention
from engine.plan import NO_SLOT, Flag, Lora, Plan, Step, Want, clean, noisy, quadratic
from kernels.attention import attention_reference
from tests.engine.small import small_config


def random_plan(seed: int) -> Plan:
    """One to four sequences of any kind and length."""
    draw = random.Random(seed)
    makers = (
        lambda: clean([draw.randrange(99) for _ in range(draw.choice((1, 5, 33, 70)))], draw.choice(tuple(Want))),
        lambda: noisy([3] * draw.randint(1, 32), draw.choice(tuple(Lora))),
        lambda: quadratic([4] * draw.randint(1, 9), 100, draw.choice(tuple(Lora))),
    )
    return Plan.pack([(draw.randint(1, 600), draw.choice(makers)()) for _ in range(draw.randint(1, 4))])


def brute_force(plan: Plan) -> Tensor:
    """The rule as a person would read it aloud, row by row."""
    table = torch.zeros(plan.rows, plan.rows, dtype=torch.bool)
    rows = list(zip(plan.sequence.tolist(), plan.group.tolist(), plan.flags.tolist(), strict=True))
    for q, (sequence, group, flags) in enumerate(rows):
        for k, (other, earlier, kind) in enumerate(rows):
            if sequence != other:
                continue
            if not kind & Flag.NOISY:
                table[q, k] = earlier <= group
            else:
                table[q, k] = bool(flags & Flag.NOISY) and earlier == group
    return table


@pytest.mark.parametrize("seed", range(12))
def test_the_visibility_rule(seed: int) -> None:
    """The vectorised rule equals the one read aloud, for any mix of rows."""
    plan = random_plan(seed)
    assert torch.equal(plan.visibility(), brute_force(plan))


@pytest.mark.parametrize("seed", range(12))
def test_attention_obeys_the_rule(seed: int) -> None:
    """Tiles, chunks and cache together give plain attention over the committed prefix and the visible new rows."""
    torch.manual_seed(seed)
    plan, config = random_plan(seed), small_config()
    heads, size = config.num_attention_heads, config.head_dim
    query = torch.randn(plan.rows, heads, size)
    key, value = torch.randn(2, plan.rows, config.num_key_value_heads, size)
    caches, prefixes = [], []
    for part in plan.parts:
        cache, prefix = KVCache(config), torch.randn(2, part.committed, config.num_key_value_heads, size)
        cache.reserve(part.committed + part.clean)
        cache.write(0, 0, *prefix)
        caches.append(cache)
        prefixes.append(prefix)
    found = PlanAttention(plan, caches)(0, query, key, value)
    table = plan.visibility()
    for part, (old_key, old_value) in zip(plan.parts, prefixes, strict=True):
        rows = slice(part.start, part.start + part.rows)
        visible = torch.cat((torch.ones(part.rows, part.committed, dtype=torch.bool), table[rows, rows]), dim=1)
        wanted = attention_reference(query[rows], torch.cat((old_key, key[rows])), torch.cat((old_value, value[rows])), visible)
        torch.testing.assert_close(found[rows], wanted, rtol=1e-4, atol=1e-5)


def test_quadratic_layout() -> None:
    """B drafts, then B groups of B masks: positions, groups and slots of the worked example."""
    plan = Plan.pack([(10, quadratic((7, 8), 100, Lora.ON))])
    assert plan.token.tolist() == [7, 8, 100, 100, 100, 100]
    assert plan.position.tolist() == [10, 11, 11, 12, 12, 13]
    assert plan.group.tolist() == [0, 1, 0, 0, 1, 1]
    assert plan.slot.tolist() == [10, 11, *[NO_SLOT] * 4]
    assert plan.limit.tolist() == [11, 12, 11, 11, 12, 12]
    assert plan.wanted().tolist() == [0, 1, 3, 5]
    assert plan.visibility().int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 0, 1, 1, 0, 0],
        [1, 0, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 1],
        [1, 1, 0, 0, 1, 1],
    ]


@pytest.mark.parametrize(("want", "rows"), [(Want.NONE, []), (Want.LAST, [2]), (Want.ALL, [0, 1, 2])])
def test_wanted_rows(want: Want, rows: list[int]) -> None:
    """Only the rows asked for are projected to the vocabulary."""
    assert Plan.pack([(4, clean((1, 2, 3), want))]).wanted().tolist() == rows


@pytest.mark.parametrize(
    ("step", "gate"),
    [
        (clean((1, 2)), None),
        (noisy((1, 2), Lora.OFF), None),
        (noisy((1, 2), Lora.ON), [1.0, 1.0]),
        (quadratic((1, 2), 100, Lora.ON), [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_lora_gate_is_data(step: Step, gate: list[float] | None) -> None:
    """The drafter LoRA touches noisy rows that ask for it, and never a row whose keys are kept."""
    found = Plan.pack([(3, step)]).gate()
    assert (None if found is None else found.tolist()) == gate


def test_tiles_depend_on_their_own_sequence_only() -> None:
    """A sequence is cut into the same tiles alone and behind others."""
    step = quadratic((5,) * 5, 100, Lora.ON)
    alone = [(tile.start, tile.count, tile.noisy) for tile in Plan.pack([(9, step)]).tiles()]
    behind = Plan.pack([(2, clean((1,) * 40)), (9, step)])
    assert [(t.start - 40, t.count, t.noisy) for t in behind.tiles() if t.part.sequence == 1] == alone
    assert alone == [(0, 5, False), (5, 25, True)]
