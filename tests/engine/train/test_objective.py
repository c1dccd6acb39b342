"""The losses: their definition, their weighing, and that cutting a step into microbatches changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.model.network import Network, plain_linear
from engine.train.batches import Batch, Scope
from engine.train.corpus import Example
from engine.train.lessons import step_of
from engine.train.memory import recompute
from engine.train.objective import Counts, Losses, Weighing, causal_losses, guarded, joint_losses
from engine.train.recipe import Recipe, Stage
from engine.train.streams import Noisy
from tests.engine.small import small_network
from tests.engine.train.rows import END, causal_logits, dual_logits, random_noise, random_rows

BLOCK = 4
ROWS = random_rows((5, 14), (9, 12), (1, 23))
CPU = torch.device("cpu")


@pytest.mark.parametrize("scope", list(Scope))
def test_joint_losses_equal_the_definition(scope: Scope) -> None:
    """Sums equal cross-entropies computed place by place; the prompt counts in none but its own, and there if in scope."""
    network, batch = small_network(), Batch.of(ROWS, END)
    noisy = Noisy.of(batch, torch.tensor([4, 8, 0]), BLOCK)
    noise = random_noise(noisy)
    blurred, clean = dual_logits(network, batch, noisy, torch.where(noise.masked, network.config.mask_token_id, noisy.tokens))
    causal = prompts = diffusion = sharpened = 0.0
    for index, row in enumerate(ROWS):
        for place in range(noisy.index.shape[1]):
            if noise.masked[index, place]:
                assert noisy.index[index, place] >= row.prompt_length
                logits, target = blurred[index, place], noisy.tokens[index, place]
                loss = -float(logits.log_softmax(-1)[target])
                diffusion += loss
                guessed = place % BLOCK > 0 and bool(noise.masked[index, place - 1])
                sharpened -= float(((2.75 if guessed else 1.0) * logits).log_softmax(-1)[target])
        each = [-float(clean[index, place - 1].log_softmax(-1)[row.ids[place]]) for place in range(1, len(row.ids))]
        prompts, causal = prompts + sum(each[: row.prompt_length - 1]), causal + sum(each[row.prompt_length - 1 :])
    found = joint_losses(network, batch, noisy, noise, scope=scope)
    assert float(found.causal) == pytest.approx(causal, rel=1e-4)
    assert float(found.prompts) == pytest.approx(prompts if scope is Scope.ROWS else 0.0, rel=1e-4)
    assert float(found.diffusion) == pytest.approx(diffusion, rel=1e-4)
    assert float(found.scaled) == pytest.approx(diffusion / 0.6, rel=1e-4)
    assert float(found.guarded) == pytest.approx(sharpened, rel=1e-4)


@pytest.mark.parametrize("scope", list(Scope))
def test_causal_losses_equal_the_definition(scope: Scope) -> None:
    """The causal stage's sums are those of predicting every token in scope, and every answer token, from the text before it."""
    network = small_network()
    answers, rows = 0.0, 0.0
    for row in ROWS:
        logits = causal_logits(network, torch.tensor(row.ids)).log_softmax(-1)
        each = [-float(logits[place - 1, row.ids[place]]) for place in range(1, len(row.ids))]
        answers, rows = answers + sum(each[row.prompt_length - 1 :]), rows + sum(each)
    found = tuple(map(float, causal_losses(network, Batch.of(ROWS, END), scope=scope)))
    assert found == pytest.approx((rows if scope is Scope.ROWS else answers, answers), rel=1e-4)


def test_the_family_averages_over_all_tokens_of_the_step() -> None:
    """(S_ar + 0.3 S_diff) / (n_ar + n_masked) with S_diff over the mask chance; the others are sums of two means."""
    losses, counts = Losses(*map(torch.tensor, (40.0, 7.0, 18.0, 30.0, 4.5))), Counts(16, 9)
    assert float(Weighing.FAMILY(losses, counts)) == pytest.approx((40 + 0.3 * 30) / 25)
    assert float(Weighing.BALANCED(losses, counts)) == pytest.approx(40 / 16 + 18 / 9)
    assert float(Weighing.GUARDED(losses, counts)) == pytest.approx(40 / 16 + 4.5 / 9)


@pytest.mark.parametrize(("guessed", "claimed"), [(True, 0.9), (False, 0.9976)])
def test_a_guess_at_a_distance_is_best_claimed_with_less(guessed: bool, claimed: float) -> None:
    """Of a token that is right 997.6 times in 1000, the optimum claims 0.9 for a guess at a distance, else just that."""
    right, claim = 0.9976, torch.linspace(0.5, 0.9999, 20000, dtype=torch.float64)
    logits, place = torch.stack((claim.logit(), torch.zeros_like(claim)), dim=1), torch.full((len(claim),), guessed)
    correct, wrong = (guarded(logits, torch.full((len(claim),), target), place) for target in (0, 1))
    assert float(claim[(right * correct + (1 - right) * wrong).argmin()]) == pytest.approx(claimed, abs=1e-3)


def gradients(network: Network, stage: Stage, rows: list[Example], recipe: Recipe) -> tuple[list[Tensor], int]:
    """Gradients of one step, and in how many microbatches it came."""
    step = step_of(stage, rows, recipe, 3, END, CPU)
    network.zero_grad()
    for lesson in step.lessons:
        lesson.learn(network, plain_linear).loss.backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in network.parameters() if p.grad is not None], len(step.lessons)


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("weighing", list(Weighing))
@pytest.mark.parametrize("scope", list(Scope))
def test_microbatches_add_up_to_the_step(stage: Stage, weighing: Weighing, scope: Scope) -> None:
    """A step has the same gradients in one pass and in many: counts are those of the step, noise that of each row."""
    network = small_network(2, spread=2.0).requires_grad_(True)
    rows = random_rows(*((3 + n % 4, 9 + 5 * (n % 5)) for n in range(10)))
    recipe = Recipe(weighing=weighing, scope=scope, blocks=(8,), places=100_000)
    (whole, one), (cut, many) = (gradients(network, stage, rows, replace(recipe, places=n)) for n in (100_000, 90))
    assert one == 1 and many >= 3
    for left, right in zip(whole, cut, strict=True):
        assert torch.allclose(left, right, atol=1e-5, rtol=1e-3)


def test_recomputed_activations_give_the_same_gradients() -> None:
    """Computing a layer's inside again in the backward pass changes no bit."""
    network, rows = small_network(2).requires_grad_(True), random_rows((4, 30), (6, 22))
    kept, _ = gradients(network, Stage.JOINT, rows, Recipe())
    recompute(network)
    again, _ = gradients(network, Stage.JOINT, rows, Recipe())
    assert all(torch.equal(left, right) for left, right in zip(kept, again, strict=True))
