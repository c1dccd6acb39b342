"""The law of sampling: every exact mode draws from the model's own distribution, whole or cut by filters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from engine.engine import Engine
from engine.request import Mode
from tests.engine.harness import asked, causal_attend, events_of, model, output

VOCAB, MASK, PROMPT, DRAWS = 11, 10, (3, 7), 500
GIVEN = model(seed=1, vocab_size=VOCAB, spread=4.0)
QUANTILES = {1: 10.8, 2: 13.8, 3: 16.3, 4: 18.5, 5: 20.5, 6: 22.5, 7: 24.3, 8: 26.1, 9: 27.9}
"""The 0.999 quantiles of chi-square by degrees of freedom."""


def probabilities(tokens: Tensor, top_p: float) -> Tensor:
    """The next token's law after each row of `tokens` [n, t], without the mask id: [n, VOCAB]."""
    network = GIVEN.network
    hidden = network(tokens, torch.arange(tokens.shape[1]).expand(tokens.shape), causal_attend)
    logits = network.logits(hidden[:, -1])
    whole = logits.softmax(-1)
    ranked, order = whole.sort(descending=True, stable=True)
    cut = torch.zeros_like(whole).scatter(1, order, ((ranked.cumsum(-1) - ranked) >= top_p).float()) > 0
    cut[:, MASK] = True
    return logits.masked_fill(cut, -torch.inf).softmax(-1)


def law_of_third(top_p: float) -> Tensor:
    """The exact law of the third output token, summed over all beginnings."""
    start = torch.tensor(PROMPT).expand(VOCAB * VOCAB, 2)
    pairs = torch.cartesian_prod(torch.arange(VOCAB), torch.arange(VOCAB))
    first = probabilities(torch.tensor([PROMPT]), top_p)[0]
    second = probabilities(torch.cat((start[:VOCAB], torch.arange(VOCAB)[:, None]), 1), top_p)
    third = probabilities(torch.cat((start, pairs), 1), top_p)
    weight = first[pairs[:, 0]] * second[pairs[:, 0], pairs[:, 1]]
    return weight @ third


def chi_square(counts: Tensor, law: Tensor) -> tuple[float, int]:
    """Statistic and degrees of freedom, with cells below five expected draws joined into one."""
    expected = law * counts.sum()
    large = expected >= 5
    cells = torch.stack([torch.cat((x[large], x[~large].sum()[None])) for x in (counts, expected)])
    seen, wanted = cells[:, cells[1] > 0]
    return float(((seen - wanted) ** 2 / wanted).sum()), len(seen) - 1


@pytest.mark.parametrize("changes", [{}, {"top_p": 0.8}], ids=["whole", "top_p"])
@pytest.mark.parametrize("mode", [Mode.AR, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
def test_sampling_is_exact(mode: Mode, changes: dict[str, Any]) -> None:
    """Over many seeds the third token follows the exact marginal law, and the first its softmax (chi-square, 0.999)."""
    requests = [asked(mode, PROMPT, 3, temperature=1.0, seed=n, block=3, **changes) for n in range(DRAWS)]
    found = events_of(Engine(GIVEN), *requests)
    texts = [output(found[request.id]) for request in requests]
    top_p = changes.get("top_p", 1.0)
    for place, law in ((0, probabilities(torch.tensor([PROMPT]), top_p)[0]), (2, law_of_third(top_p))):
        counts = torch.bincount(torch.tensor([text[place] for text in texts]), minlength=VOCAB).float()
        assert not counts[law == 0].any()
        statistic, freedom = chi_square(counts, law)
        assert statistic < QUANTILES[freedom]
