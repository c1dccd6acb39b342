"""Train in stages: autoregressive, then jointly with block diffusion, guarded amid denoising, then the drafter LoRA alone.

Everything follows from the recipe and its seed, on one machine and number of threads: data, noise, initial weights, order. A
training yields its progress and never prints, so a terminal, a test and a notebook can each show it in their own way. It
writes a snapshot every few steps and goes on from it as if nothing had happened.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.train.learner import restore
from engine.train.lessons import Step, step_of
from engine.train.memory import kept, recompute
from engine.train.optimiser import Optimiser
from engine.train.origin import Origin, origin_of
from engine.train.recipe import Recipe, Stage
from engine.train.snapshot import FILE, Snapshot

_CPU = torch.device("cpu")
_MEASURED = 3  # steps per stage from which a time budget is made into a number of steps


class TrainingError(Exception):
    """A training cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One optimiser step. `figures` are means in nats per token (`ar`, `diffusion`) or per block (`drafter`, `accepted`)."""

    stage: Stage
    step: int
    steps: int
    figures: Mapping[str, float]
    rate: float
    tokens_per_second: float


class Training:
    """One run: `recipe` says what it will do, `steps` does it."""

    def __init__(self, recipe: Recipe, out: Path, origin: Origin, device: torch.device = _CPU) -> None:
        """Open data and weights. Raises CheckpointError or DataError if they cannot be used."""
        self.recipe, self.out, self.origin, self._device = recipe, out, origin, device
        self._course = origin.open(recipe, out, device)
        self.seconds = 0.0
        """What the steps so far took, those before an interruption too."""
        self._begin: tuple[Stage, int] = (Stage.CAUSAL, 0)
        self._moments: Mapping[str, Mapping[str, Tensor]] = {}
        network = self._course.learner.network
        network.train()
        if recipe.recompute:
            recompute(network)

    @classmethod
    def resume(cls, out: Path, device: torch.device = _CPU) -> Training:
        """Go on from the snapshot in `out`. Raises CheckpointError if there is none, or if what it began with has changed."""
        snapshot = Snapshot.read(out)
        training = cls(snapshot.recipe, out, origin_of(snapshot.origin), device)
        restore(training._course.learner, snapshot.learned)
        training._begin, training._moments = (snapshot.stage, snapshot.step), snapshot.moments
        training.seconds = snapshot.seconds
        return training

    @property
    def worker(self) -> str:
        """What the steps run on."""
        if self._device.type == "cuda":
            return torch.cuda.get_device_name(self._device)
        return f"{torch.get_num_threads()} threads of a CPU"

    def fit(self, minutes: float) -> None:
        """Measure a few steps of each stage and scale the recipe to fill `minutes`."""
        self.recipe = self.recipe.fitted(minutes, {stage: self._seconds(stage) for stage in Stage if self.recipe.steps(stage)})

    def steps(self) -> Generator[Progress]:
        """Run every stage and leave a loadable checkpoint.

        Raises TrainingError if a loss or a weight stops being a number, or if another process is at it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with _alone(self.out):
            yield from self._steps()

    def _steps(self) -> Iterator[Progress]:
        first, done = self._begin
        if (first, done) == (Stage.CAUSAL, 0):
            # So that it can go on wherever it is cut short, and that a disk which takes nothing is known at once.
            self._keep(first, done, {})
        with kept():
            for stage in tuple(Stage)[tuple(Stage).index(first) :]:
                if self.recipe.steps(stage):
                    yield from self._stage(stage, done if stage is first else 0)
        self._course.learner.publish(self.out, finished=True)

    def finish(self) -> None:
        """Take away the snapshot: nothing is left to go on with."""
        (self.out / FILE).unlink(missing_ok=True)

    def _stage(self, stage: Stage, done: int) -> Iterator[Progress]:
        trained = self._opened(stage)
        optimiser = Optimiser(self.recipe.rule, trained)
        optimiser.give(self._moments)
        self._moments = {}
        steps = self.recipe.steps(stage)
        for number in range(done, steps):
            began = time.monotonic()
            step = self._lessons(stage, number)
            figures = self._learn(stage, step)
            torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
            optimiser.step(self.recipe.rate(stage, number))
            took = time.monotonic() - began
            self.seconds += took
            if (number + 1) % self.recipe.save_every == 0 or number + 1 == steps:
                self._keep(stage, number + 1, optimiser.moments())
                self._course.learner.publish(self.out, finished=False)
            yield Progress(stage, number + 1, steps, figures, self.recipe.rate(stage, number), step.tokens / took)

    def _opened(self, stage: Stage) -> dict[str, nn.Parameter]:
        """What the stage trains; everything else is frozen."""
        learner = self._course.learner
        learner.network.requires_grad_(False)
        for each in Stage:
            for parameter in learner.trained(each).values():
                parameter.requires_grad_(False)
        trained = learner.trained(stage)
        for parameter in trained.values():
            parameter.requires_grad_(True)
        return trained

    def _lessons(self, stage: Stage, number: int) -> Step:
        first = (self.recipe.first(stage) + number) * self.recipe.batch
        rows = [self._course.row(first + index) for index in range(self.recipe.batch)]
        return step_of(stage, rows, self.recipe, number, self._course.end_token, self._device)

    def _learn(self, stage: Stage, step: Step) -> dict[str, float]:
        """Gradients of all lessons of a step, and its figures."""
        learner, sums = self._course.learner, dict.fromkeys(step.counts, 0.0)
        for lesson in step.lessons:
            with self.recipe.precision.cast(self._device):
                learned = lesson.learn(learner.network, learner.linear)
            if not torch.isfinite(learned.loss):
                raise TrainingError(f"the loss of stage {stage} is no longer a number: lower the learning rate")
            learned.loss.backward()  # type: ignore[no-untyped-call]
            for name, total in learned.sums.items():
                sums[name] += float(total)
        return {name: total / max(1, step.counts[name]) for name, total in sums.items()}

    def _seconds(self, stage: Stage) -> float:
        """What a step of a stage takes, the optimiser's part aside; nothing is changed."""
        self._opened(stage)
        times = []
        for number in range(_MEASURED):
            began = time.monotonic()
            self._learn(stage, self._lessons(stage, number))
            times.append(time.monotonic() - began)
        for parameter in self._course.learner.trained(stage).values():
            parameter.grad = None
        return sorted(times)[len(times) // 2]

    def _keep(self, stage: Stage, done: int, moments: dict[str, dict[str, Tensor]]) -> None:
        origin, stored = self.origin.document(), self._course.learner.stored()
        if not all(bool(tensor.isfinite().all()) for tensor in stored.values()):  # the loss was measured before this step
            raise TrainingError(f"the weights after stage {stage} are no longer numbers: lower the learning rate")
        Snapshot(self.recipe, origin, stage, done, stored, moments, self.seconds).write(self.out)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold `folder` for as long as it is written to; the system lets it go with the process, however that ends."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        _claim(opened, folder)
        yield
    finally:
        os.close(opened)


def _claim(opened: int, folder: Path) -> None:
    with suppress(OSError):  # some file systems of a network know no locks
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(f"{folder}: another process trains there; wait for it, or end it first") from error


def device_named(name: str) -> torch.device:
    """The device of that name, for `auto` the GPU if there is one. Raises TrainingError if it cannot be used here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"the device {name} cannot be used here: {str(error).splitlines()[0]}") from error
