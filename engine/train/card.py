"""The card that ships beside the weights: what the checkpoint is, how it was made, and what it scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.model.checkpoint import LoadedModel
from engine.train.recipe import Recipe
from engine.train.scores import BLOCK_LENGTH, THRESHOLD, Score


def write_card(folder: Path, model: LoadedModel, recipe: Recipe, scores: Sequence[Score]) -> None:
    """Write `folder/README.md`: what the checkpoint is, how it was made, and what it scored."""
    rows = [
        f"| `{s.mode}` | {s.correct}/{s.questions} | {s.exact}/{s.questions} | {s.same_as_ar}/{s.questions} | "
        f"{s.tokens_per_forward:.2f} | {s.tokens / s.seconds:.0f} |"
        for s in scores
    ]
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    (folder / "README.md").write_text(_CARD.format(
        parameters=parameters / 1e6,
        digest=model.weights_digest,
        causal=recipe.causal_steps,
        joint=recipe.joint_steps,
        batch=recipe.batch,
        seed=recipe.seed,
        block=BLOCK_LENGTH,
        threshold=THRESHOLD,
        table="\n".join(rows),
    ), encoding="utf-8")  # fmt: skip


_CARD = """# palimpsest-tiny

A {parameters:.1f} M-parameter checkpoint of the Nemotron-Labs-Diffusion architecture, in the family's exact file layout,
trained from scratch by this project so that every claim can be tried on a laptop. It writes small Python functions over
lists of integers or strings from English requests, and nothing else. Licence: Apache-2.0, like the code.

* **Data**: made by `engine/train/grammar.py`; compositions of filter, map and reduction whose hash falls into the held-out
  share were never generated for training. No outside data.
* **Command**: `palimpsest train --causal-steps {causal} --joint-steps {joint} --batch {batch} --seed {seed} --out DIR`
* **Seed**: {seed}. Weights digest (SHA-256): `{digest}`
* **Stages**: {causal} autoregressive steps, then {joint} joint steps; half of the blocks in draft form (first token known, the
  rest masked), 15 % wholly masked, the rest with a mask ratio drawn per block; the mean of both losses.
* **Drafter LoRA**: present in the layout, B = 0, so it changes nothing yet.
* **Context**: 1,024 positions are served; trained on conversations of up to about 140 tokens.

Held-out exam, greedy, float32, strict numerics, block {block} (8 for `quadratic_spec`), threshold {threshold} for `diffusion`:

| mode | executed correct | exact | same text as `ar` | tokens per forward | tokens/s (this run) |
|---|---|---|---|---|---|
{table}

Tokens per forward = sum of tokens / sum of forwards; a forward is every network pass after prefill, drafts, denoising,
verification and commits alike. Tokens/s is of one machine and one run, and stands here for scale only.
"""
