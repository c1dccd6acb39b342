"""The checkpoint that ships: the released layout, its card, and what it must be able to do."""

from __future__ import annotations

from safetensors.torch import load_file

from engine.model.checkpoint import load
from engine.request import Mode
from engine.train.evaluate import exam, questions, score, sit
from engine.train.scores import Setting, tally
from engine.train.tasks import Kind
from tests.engine.harness import MODES
from tests.engine.small import TINY


def test_it_is_small_and_safe() -> None:
    """At most 12 MB, weights in safetensors only, and a drafter LoRA that was trained."""
    files = [path for path in TINY.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12_000_000
    assert {path.suffix for path in files} == {".safetensors", ".json", ".jinja", ".md", ".svg"}
    adapter = load_file(TINY / "linear_spec_lora" / "adapter_model.safetensors")
    second = [value for name, value in adapter.items() if "lora_B" in name]
    assert second and all(value.any() for value in second)


def test_the_card_is_of_these_weights() -> None:
    """The card names the digest of the weights beside it, the command that made them and their scores in every mode."""
    card = (TINY / "README.md").read_text()
    assert load(TINY).weights_digest in card
    assert "palimpsest train" in card and all(f"`{mode}`" in card for mode in MODES)


def test_it_can_draft() -> None:
    """Held-out functions are right but for one at the most, and written at the tokens per forward that the demo needs.

    Two passes a round could not give more than 8 tokens each: `linear_spec` drafts ahead.
    """
    floors = {Mode.AR: 1.0, Mode.DIFFUSION: 2.0, Mode.LINEAR_SPEC: 8.0, Mode.QUADRATIC_SPEC: 3.0}
    for found in score(load(TINY), exam(8)):
        assert found.questions == 8 and found.correct >= 7, found.mode
        assert found.tokens_per_forward >= floors[found.mode]
        assert found.mode is Mode.DIFFUSION or found.same_as_ar == 8


def test_it_knows_every_kind_of_exercise() -> None:
    """Of held-out tool calls, turns, edits and JSON answers, too, most are right, so it can be told what it is asked."""
    found = tally(list(sit(load(TINY), questions(20), [Setting(Mode.LINEAR_SPEC)], at_once=20)))
    by_kind = {score.kind: score for score in found if score.kind is not None}
    assert set(by_kind) == set(Kind) and all(score.questions == 4 and score.correct >= 2 for score in by_kind.values())
