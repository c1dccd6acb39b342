"""`palimpsest train` as a person types it: a fine-tune from a folder and a file, and errors of one line."""

from __future__ import annotations

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from engine.model.checkpoint import load
from engine.train.execution import require_jail
from engine.train.learner import ADAPTER_FOLDER
from engine.train.origin import Scratch
from engine.train.recipe import Recipe
from engine.train.trainer import Training
from gateway.cli import palimpsest
from gateway.cli.failure import CommandFailed
from gateway.cli.train import _recipe, train
from tests.engine.small import TINY
from tests.engine.train.given import chats, checkpoint

QUICK = ("--joint-steps", "2", "--batch", "2", "--device", "cpu")


def trained(*words: object) -> Result:
    """The command, as typed."""
    return CliRunner().invoke(palimpsest, ["train", *map(str, words)])


def told(done: Result) -> str:
    """What was printed, or is about to be, without the frames and line breaks that a narrow terminal puts in."""
    return re.sub(r"[\s│]+", "", f"{done.output}{done.exception or ''}")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint and chats."""
    folder = tmp_path_factory.mktemp("given")
    return checkpoint(folder / "base"), chats(folder / "chats.jsonl")


@pytest.mark.parametrize("lora", [(), ("--lora", "--rank", "2")])
def test_a_checkpoint_is_tuned_to_chats(given: tuple[Path, Path], tmp_path: Path, lora: tuple[str, ...]) -> None:
    """`--from` and `--data` leave a checkpoint that loads; with `--lora` its adapters as well."""
    out = tmp_path / "mine"
    done = trained("--from", given[0], "--data", given[1], "--out", out, *QUICK, *lora)
    assert done.exit_code == 0, done.output
    assert "joint" in done.output and "tok/s" in done.output and f"wrote{out}" in told(done)
    assert load(out).weights_digest != load(given[0]).weights_digest
    assert (out / ADAPTER_FOLDER).exists() is bool(lora)


def test_bad_data_is_one_line(given: tuple[Path, Path], tmp_path: Path) -> None:
    """A line that cannot be used is named by file, line and reason, without a traceback, and nothing is written."""
    data = tmp_path / "bad.jsonl"
    data.write_text(given[1].read_text() + '{"messages": "none"}\n')
    done = trained("--from", given[0], "--data", data, "--out", tmp_path / "mine", *QUICK)
    assert done.exit_code == 1 and f"{data.name}:8:itmustbeanobject" in told(done)
    assert "Traceback" not in done.output and not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [(("--from", "{base}"), "go together"), (("--data", "{data}"), "go together"), (("--lora",), "--lora with both"),
     (("--out", "{base}"), "not empty")],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(
    given: tuple[Path, Path], tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    """A wrong call says what is missing and starts nothing."""
    filled = [word.format(base=given[0], data=given[1]) for word in words]
    done = trained(*(() if "--out" in words else ("--out", tmp_path / "new")), *filled)
    assert done.exit_code == 2 and reason.replace(" ", "") in told(done)
    assert not (tmp_path / "new").exists()


def test_a_training_that_goes_on_takes_no_other_options(given: tuple[Path, Path], tmp_path: Path) -> None:
    """What was not begun so is not heard in silence: steps, data or a folder beside `--resume` are refused by name."""
    words = ("--joint-steps", "9", "--from", given[0], "--out", tmp_path)
    done = trained("--resume", given[0], "--device", "cpu", *words)
    assert done.exit_code == 2 and all(word in told(done) for word in ("leaveout", "--joint-steps", "--from", "--out"))
    assert "--device" not in told(done).partition("leaveout")[2]


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error names the device, and nothing is started."""
    done = trained("--out", tmp_path / "new", "--device", "abacus")
    assert done.exit_code == 1 and "thedeviceabacuscannotbeusedhere" in told(done)
    assert not (tmp_path / "new").exists()


def test_curves_that_cannot_be_drawn_are_told_first(
    given: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where TensorBoard is not installed nothing is written, so that the same words work once it is, curves in `--out` too."""
    words = ("--from", given[0], "--data", given[1], "--out", tmp_path / "mine", *QUICK, "--tensorboard", tmp_path / "mine/c")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard", None)
        done = trained(*words)
    assert done.exit_code == 1 and "palimpsest[train]" in told(done) and not (tmp_path / "mine").exists()
    if find_spec("tensorboard") is not None:
        assert trained(*words).exit_code == 0 and any((tmp_path / "mine/c").iterdir())


def test_answers_that_cannot_be_run_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exam that cannot be held, for want of a jail, ends a training as other mistakes do."""
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(TINY / name, tmp_path / name)
    next(Training(Recipe(causal_steps=1, joint_steps=0, batch=1), tmp_path, Scratch()).steps())
    monkeypatch.setattr(sys, "executable", "/bin/false")
    require_jail.cache_clear()
    done = trained("--resume", tmp_path, "--device", "cpu", "--questions", "1")
    assert isinstance(done.exception, CommandFailed) and "answerscannotberun" in told(done)


def recipe(words: list[str]) -> Recipe:
    """What the command would do from scratch when it is typed so."""
    with train.make_context("train", words) as context:
        return _recipe(context.params, torch.device("cpu"))


@pytest.mark.parametrize(
    "words",
    ["", "--rate 0.0012345678", "--weighing family", "--scope rows --batch 24 --seed 3", "--places 2048 --recompute",
     "--causal-steps 850 --settle-steps 2 --drafter-steps 4 --precision bfloat16"],
)  # fmt: skip
def test_a_card_says_the_command_that_was_given(words: str) -> None:
    """The options that a run prints, and that its card calls its command, ask for all that decides its weights."""
    asked = recipe(words.split())
    assert recipe(asked.options().split()) == asked


def test_help_shows_how_to_begin() -> None:
    """`--help` has an example for each use."""
    shown = trained("--help").output
    assert all(word in shown for word in ("--resume", "--lora", "--minutes", "chats.jsonl", "Examples"))
