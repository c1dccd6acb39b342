"""The law of sampling: at temperature 1 every exact mode draws from the model's own distribution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.request import Mode
from tests.engine.harness import asked, causal_attend, decoded, model, output

VOCAB, MASK, PROMPT, DRAWS = 12, 11, (3, 7), 500
GIVEN = model(seed=1, vocab_size=VOCAB, spread=4.0)


def probabilities(tokens: Tensor) -> Tensor:
    """The next token's law after each row of `tokens` [n, t], without the mask id: [n, VOCAB]."""

    network = GIVEN.network
    hidden = network(tokens, torch.arange(tokens.shape[1]).expand(tokens.shape), causal_attend)
    logits = network.logits(hidden[:, -1])
    logits[:, MASK] = -torch.inf
    return logits.softmax(-1)


def law_of_third() -> Tensor:
    """The exact law of the third output token, summed over all beginnings."""
    start = torch.tensor(PROMPT).expand(VOCAB * VOCAB, 2)
    pairs = torch.cartesian_prod(torch.arange(VOCAB), torch.arange(VOCAB))
    first = probabilities(torch.tensor([PROMPT]))[0]
    second = probabilities(torch.cat((start[:VOCAB], torch.arange(VOCAB)[:, None]), 1))
    third = probabilities(torch.cat((start, pairs), 1))
    weight = first[pairs[:, 0]] * second[pairs[:, 0], pairs[:, 1]]
    return weight @ third


def chi_square(counts: Tensor, law: Tensor) -> tuple[float, int]:
    """Statistic and degrees of freedom, with cells below five expected draws joined into one."""
    expected = law * counts.sum()
    large = expected >= 5
    cells = torch.stack([torch.cat((x[large], x[~large].sum()[None])) for x in (counts, expected)])
    seen, wanted = cells[:, cells[1] > 0]
    return float(((seen - wanted) ** 2 / wanted).sum()), len(seen) - 1


@pytest.mark.parametrize("mode", [Mode.AR, Mode.LINEAR_SPEC, Mode.QUADRATIC_SPEC])
def test_sampling_is_exact(mode: Mode) -> None:
    """Over many seeds the third token follows the exact marginal law, and the first its softmax (chi-square, 0.999)."""
    texts = [output(decoded(GIVEN, asked(mode, PROMPT, 3, temperature=1.0, seed=n, block=3))) for n in range(DRAWS)]
    quantiles = {4: 18.5, 5: 20.5, 6: 22.5, 7: 24.3, 8: 26.1, 9: 27.9, 10: 29.6, 11: 31.3}
    for place, law in ((0, probabilities(torch.tensor([PROMPT]))[0]), (2, law_of_third())):
        counts = torch.bincount(torch.tensor([text[place] for text in texts]), minlength=VOCAB)
        statistic, freedom = chi_square(counts.float(), law)
        assert statistic < quantiles[freedom]
