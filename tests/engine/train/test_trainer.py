"""A training follows from its seed alone, survives a kill without a trace, and leaves a checkpoint."""

from __future__ import annotations

import io
import json
import math
import resource
import shutil
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file

from engine.config import CheckpointError, read_json
from engine.model.checkpoint import digest, load
from engine.train.card import EXAM
from engine.train.chats import DataError
from engine.train.evaluate import MODES
from engine.train.execution import JailUnavailable, require_jail
from engine.train.learner import ADAPTER_FOLDER, WholeLearner
from engine.train.messages import Role
from engine.train.origin import MIXTURES, Given, Scratch
from engine.train.recipe import Decay, Precision, Recipe, Stage
from engine.train.run import Exam, run
from engine.train.saving import write_json
from engine.train.snapshot import FILE, Snapshot
from engine.train.trainer import Progress, Training, TrainingError
from tests.engine.chat_format import Message, render_chat
from tests.engine.small import TINY
from tests.engine.train.child import train
from tests.engine.train.given import SHORT, chats, checkpoint
from tests.forkserver import forkserver

TINY_RUN = Recipe(causal_steps=2, joint_steps=2, settle_steps=1, drafter_steps=1, batch=2)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint and chats that no test writes to."""
    folder = tmp_path_factory.mktemp("given")
    return checkpoint(folder / "base"), chats(folder / "chats.jsonl")


def fresh(folder: Path) -> Path:
    """A folder where the vocabulary, which takes the longest, is there already."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(TINY / name, folder / name)
    return folder


def tuned(given: tuple[Path, Path], out: Path, recipe: Recipe = SHORT, rank: int | None = None) -> list[Progress]:
    """A whole fine-tune."""
    training = Training(recipe, out, Given.of(*given, 512, rank))
    steps = list(training.steps())
    training.finish()
    return steps


def losses(steps: list[Progress]) -> list[dict[str, float]]:
    """What each step measured."""
    return [dict(step.figures) for step in steps]


def test_a_run_follows_from_its_seed(tmp_path: Path) -> None:
    """From scratch, the same recipe gives the same weights, byte for byte, and the same losses; another seed gives others."""
    first, again = (list(Training(TINY_RUN, fresh(tmp_path / name), Scratch()).steps()) for name in "ab")
    other = list(Training(replace(TINY_RUN, seed=2), fresh(tmp_path / "c"), Scratch()).steps())
    assert losses(first) == losses(again) != losses(other)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_every_stage_reports_every_step(given: tuple[Path, Path], tmp_path: Path) -> None:
    """The stages come in their order, each with its own figures."""
    steps = tuned(given, tmp_path / "model")
    assert [(step.stage, step.step, step.steps) for step in steps] == [
        *((Stage.CAUSAL, n, 2) for n in (1, 2)), *((Stage.JOINT, n, 4) for n in (1, 2, 3, 4)),
        *((Stage.SETTLE, n, 3) for n in (1, 2, 3)),
        *((Stage.DRAFTER, n, 3) for n in (1, 2, 3)),
    ]  # fmt: skip
    both = {"ar", "diffusion"}
    figures = {Stage.CAUSAL: {"ar"}, Stage.DRAFTER: {"drafter", "accepted"}}
    assert all(set(step.figures) == figures.get(step.stage, both) for step in steps)
    assert all(step.tokens_per_second > 0 and step.rate > 0 for step in steps)
    assert not (tmp_path / "model" / FILE).exists()


@dataclass(frozen=True)
class Alone:
    """A fine-tune that nobody disturbed."""

    rank: int | None
    steps: list[Progress]
    digest: str


@pytest.fixture(scope="module", params=[None, 4])
def alone(request: pytest.FixtureRequest, given: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """One of all weights, one of a LoRA."""
    out = tmp_path_factory.mktemp("alone")
    return Alone(request.param, tuned(given, out, rank=request.param), digest(out))


@pytest.mark.parametrize("kill_at", ["ar 2", "joint 3", "settle 2", "drafter 1"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    given: tuple[Path, Path], tmp_path: Path, kill_at: str, alone: Alone
) -> None:
    """A process that is killed in any stage and resumed gives the bytes and losses of one that was left alone."""
    out, (here, there) = tmp_path / "out", forkserver().Pipe()
    child = forkserver().Process(target=train, args=(given, out, alone.rank, torch.get_num_threads(), there))
    child.start()
    there.close()
    while here.recv() != kill_at:
        here.send("go on")
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    snapshot = Snapshot.read(out)
    done = SHORT.first(snapshot.stage) + snapshot.step
    resumed = Training.resume(out)
    assert resumed.seconds == snapshot.seconds > 0
    assert losses(list(resumed.steps())) == losses(alone.steps)[done:]
    assert resumed.seconds > snapshot.seconds
    assert done == {"ar 2": 2, "joint 3": 4, "settle 2": 8, "drafter 1": 9}[kill_at]
    assert digest(out) == alone.digest


def test_a_run_goes_on_from_before_its_first_save(given: tuple[Path, Path], tmp_path: Path, alone: Alone) -> None:
    """One that is cut short while no step of it has been saved yet begins again by itself, with its own recipe."""
    rarely = replace(SHORT, save_every=250)
    assert next(Training(rarely, tmp_path / "out", Given.of(*given, 512, alone.rank)).steps()).step == 1
    resumed = Training.resume(tmp_path / "out")
    assert resumed.recipe == rarely and losses(list(resumed.steps())) == losses(alone.steps)
    assert digest(tmp_path / "out") == alone.digest


def test_an_exam_that_is_cut_short_is_held_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run from scratch can go on until its card is written: where no answer can be run, nothing that was learnt is lost."""
    out, console = fresh(tmp_path / "model"), Console(file=io.StringIO())
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    training = Training(replace(TINY_RUN, joint_steps=0, drafter_steps=0), out, Scratch())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    require_jail.cache_clear()
    with pytest.raises(JailUnavailable):
        run(training, Exam(1, (0.9,), (16,)), console)
    learnt = digest(out)
    assert list(Training.resume(out).steps()) == [] and digest(out) == learnt


def test_what_can_be_used_by_now_is_kept_when_a_run_goes_on(tmp_path: Path) -> None:
    """A run from scratch that is taken up again, and perhaps left at once, leaves the weights that it had learnt by then."""
    out = fresh(tmp_path / "model")
    next(Training(replace(TINY_RUN, save_every=1), out, Scratch()).steps())
    learnt = digest(out)
    Training.resume(out)
    assert digest(out) == learnt


def test_one_process_trains_in_a_folder(given: tuple[Path, Path], tmp_path: Path) -> None:
    """A run that is taken up while it still runs is refused, rather than put back to where its snapshot stands."""
    running = Training(SHORT, tmp_path / "out", Given.of(*given, 512, None)).steps()
    next(running)
    with pytest.raises(TrainingError, match="another process trains there"):
        next(Training.resume(tmp_path / "out").steps())
    running.close()
    assert next(Training.resume(tmp_path / "out").steps()).step == 1


def test_what_was_there_when_it_began_must_still_be_there(given: tuple[Path, Path], tmp_path: Path) -> None:
    """A run whose data or checkpoint changed meanwhile does not go on; a folder without a snapshot cannot."""
    base, data = checkpoint(tmp_path / "base"), chats(tmp_path / "chats.jsonl")
    steps = Training(SHORT, tmp_path / "out", Given.of(base, data, 512, None)).steps()
    assert [next(steps).step for _ in range(2)] == [1, 2]
    chats(data, count=3)
    with pytest.raises(DataError, match="changed"):
        Training.resume(tmp_path / "out")
    chats(data)
    checkpoint(base, lora=False)
    with pytest.raises(CheckpointError, match="changed"):
        Training.resume(tmp_path / "out")
    with pytest.raises(CheckpointError, match="no training"):
        Training.resume(base)


def test_only_the_drafter_learns_in_its_stage(given: tuple[Path, Path], tmp_path: Path) -> None:
    """The weights of a run with drafter steps alone are those it began with; its LoRA is another."""
    tuned(given, tmp_path / "model", replace(SHORT, causal_steps=0, joint_steps=0, settle_steps=0))
    before, after = load(given[0]).network, load(tmp_path / "model").network
    changed = {
        name
        for (name, old), (_, new) in zip(before.named_parameters(), after.named_parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed and all("lora_" in name for name in changed)


@pytest.mark.parametrize("rank", [None, 4])
def test_a_fine_tune_keeps_the_form_of_what_it_began_with(tmp_path: Path, rank: int | None) -> None:
    """A bfloat16 checkpoint gives a bfloat16 checkpoint that loads, with its tokenizer, its LoRA and its own config keys.

    It does not give its examination, which was of other weights.
    """
    base, data = checkpoint(tmp_path / "base", torch.bfloat16), chats(tmp_path / "chats.jsonl")
    text = (base / "config.json").read_text().replace('"block_size"', '"auto_map": {"AutoModel": "m.M"},\n  "block_size"')
    (base / "config.json").write_text(text)
    write_json(base / EXAM, {"rows": []})
    recipe = replace(SHORT, precision=Precision.BFLOAT16, drafter_steps=0)
    tuned((base, data), tmp_path / "model", recipe, rank)
    assert not (tmp_path / "model" / EXAM).exists()
    made = load(tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert tensors.keys() == load_file(base / "model.safetensors").keys()
    assert '"auto_map"' in (tmp_path / "model" / "config.json").read_text()
    assert made.tokenizer.encode("def f") == load(base).tokenizer.encode("def f")
    assert digest(tmp_path / "model") != digest(base)
    assert (tmp_path / "model" / ADAPTER_FOLDER / "adapter_model.safetensors").exists() is (rank is not None)


def test_what_lies_beside_the_weights_is_copied_whole(tmp_path: Path) -> None:
    """A save that ends amid a copy leaves the file of the save before, so that a checkpoint that could be used still can."""
    base, out = checkpoint(tmp_path / "base"), tmp_path / "out"
    (base / "vocab.txt").write_text("word\n" * 400_000)
    learner = WholeLearner(load(base).network, base)
    learner.publish(out, finished=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(OSError, match="large"):
            learner.publish(out, finished=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (out / "vocab.txt").read_bytes() == (base / "vocab.txt").read_bytes()


def test_a_base_checkpoint_learns_to_chat(tmp_path: Path) -> None:
    """One without a chat template becomes one with the family's, and its answers end as the turns that it learnt do."""
    base, data = checkpoint(tmp_path / "base", lora=False), chats(tmp_path / "chats.jsonl")
    (base / "chat_template.jinja").unlink()
    config = read_json(base / "config.json") | {"eos_token_id": 2}
    write_json(base / "config.json", config)
    assert load(base).template is None and load(base).config.eos_token_id == 2
    tuned((base, data), tmp_path / "model", replace(SHORT, drafter_steps=0))
    made = load(tmp_path / "model")
    assert made.config == replace(load(base).config, eos_token_id=made.tokenizer.eos_id)
    assert made.template is not None
    asked = made.template.render([{"role": "user", "content": "Say 3."}])
    assert asked == render_chat(made.tokenizer, [Message(Role.USER, "Say 3.")])


@pytest.mark.parametrize(("rank", "share"), [(None, 0.1), (16, 0.85)])
def test_a_fine_tune_learns_the_chats(given: tuple[Path, Path], tmp_path: Path, rank: int | None, share: float) -> None:
    """A few dozen steps on a few chats bring both losses down: far with every weight, and some way under a random head."""
    recipe = Recipe(causal_steps=0, joint_steps=40, batch=7, save_every=2, blocks=(8, 16), joint_rate=0.01)
    steps = tuned(given, tmp_path / "model", recipe, rank)
    assert all(steps[-1].figures[name] < share * steps[0].figures[name] for name in ("ar", "diffusion"))


def test_weights_stay_wide_under_bfloat16(given: tuple[Path, Path], tmp_path: Path) -> None:
    """Products in bfloat16 move float32 weights, and the losses are those of float32 up to rounding."""
    wide, narrow = (tuned(given, tmp_path / each, replace(SHORT, precision=each)) for each in Precision)
    assert wide[0].figures["ar"] == pytest.approx(narrow[0].figures["ar"], rel=0.02)
    tensors = load_file(tmp_path / "bfloat16" / "model.safetensors")
    weight = tensors["encoder.layers.0.mlp.up_proj.weight"]
    assert weight.dtype is torch.float32 and not torch.equal(weight, weight.to(torch.bfloat16).float())


def test_the_loss_falls(tmp_path: Path) -> None:
    """Twenty steps on small batches already take away a quarter of the loss of a model that knows nothing."""
    steps = list(Training(Recipe(causal_steps=20, joint_steps=0, batch=4), fresh(tmp_path / "model"), Scratch()).steps())
    assert steps[19].figures["ar"] < steps[0].figures["ar"] * 3 / 4


def test_a_loss_that_is_no_number_ends_the_run(given: tuple[Path, Path], tmp_path: Path) -> None:
    """An absurd learning rate is reported, and no broken weights are written over the last snapshot."""
    recipe = replace(SHORT, causal_steps=200, peak_rate=1e30, save_every=1000)
    with pytest.raises(TrainingError, match="learning rate"):
        tuned(given, tmp_path / "model", recipe)
    assert not (tmp_path / "model" / "model.safetensors").exists()


@pytest.mark.parametrize("rank", [None, 4])
def test_weights_that_are_no_numbers_are_never_kept(given: tuple[Path, Path], tmp_path: Path, rank: int | None) -> None:
    """A last step that breaks the weights, whose loss nobody measures, leaves neither checkpoint nor snapshot of them."""
    recipe = replace(SHORT, causal_steps=1, joint_steps=0, settle_steps=0, drafter_steps=0, peak_rate=math.nan)
    with pytest.raises(TrainingError, match="learning rate"):
        tuned(given, tmp_path / "model", recipe, rank)
    assert not (tmp_path / "model" / "model.safetensors").exists()
    with safe_open(tmp_path / "model" / FILE, "pt") as kept:  # a trainer would not read this rate
        assert json.loads(kept.metadata()["palimpsest"])["step"] == 0


def test_a_time_budget_scales_all_stages_alike() -> None:
    """Steps fill the minutes in the proportions of the recipe; a stage that is left out stays out."""
    recipe = Recipe(causal_steps=100, joint_steps=300, drafter_steps=0)
    fitted = recipe.fitted(10, {Stage.CAUSAL: 1.0, Stage.JOINT: 2.0})
    assert (fitted.causal_steps, fitted.joint_steps, fitted.drafter_steps) == (85, 257, 0)
    assert recipe.fitted(0.001, {Stage.CAUSAL: 1.0, Stage.JOINT: 2.0}).causal_steps == 1


def test_measuring_changes_nothing(given: tuple[Path, Path], tmp_path: Path) -> None:
    """A run with a budget is the run of the steps that it came to."""
    timed = Training(SHORT, tmp_path / "timed", Given.of(*given, 512, None))
    timed.fit(0.004)
    list(timed.steps())
    tuned(given, tmp_path / "stepped", timed.recipe)
    assert digest(tmp_path / "timed") == digest(tmp_path / "stepped")


@pytest.mark.parametrize("decay", list(Decay))
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_rates_rise_and_fall(decay: Decay, steps: int) -> None:
    """The rate warms up to the peak, never passes it, never ends, and is low at the end of a long run."""
    shares = [decay.share(step, steps) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares) and max(shares) == 1.0
    assert steps < 1000 or (shares[0] < 0.02 and shares[-1] < 0.11)


@pytest.mark.long
@pytest.mark.parametrize("mixture", list(MIXTURES))
def test_a_whole_run_ends_with_exams_and_a_card(tmp_path: Path, mixture: str) -> None:
    """`palimpsest train` leaves a checkpoint that loads and a card with its digest, and prints every mode's score."""
    printed = io.StringIO()
    recipe = Recipe(causal_steps=3, joint_steps=2, batch=2)
    exam = Exam(1, (0.9,), (16,))
    run(Training(recipe, fresh(tmp_path / "model"), Scratch(mixture)), exam, Console(file=printed, width=120))
    card = (tmp_path / "model" / "README.md").read_text()
    assert load(tmp_path / "model").weights_digest in card
    assert "minutes of training steps on" in card
    steps = "--causal-steps 3 --joint-steps 2 --settle-steps 0 --drafter-steps 0"
    assert f"--mixture {mixture} --scope answers {steps} --batch 2 --seed 1" in card
    for heading in ("| `linear_spec` | 1 |", "| LoRA on | LoRA off |", "| block 16 |"):
        assert heading in card
    for heading in ("Calls of tools whose schemas are held out", "| `ar`, grammar | 1 |", "Amid about 2,048 tokens"):
        assert (heading in card) is (mixture == "whole")
    assert (tmp_path / "model" / "tradeoff.svg").read_text().startswith("<svg")
    assert all(f"{mode} " in printed.getvalue() for mode in MODES)
