"""A fine-tune in a process of its own, to be killed: it tells of each step and waits until it may go on."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import torch

from engine.train.origin import Given
from engine.train.trainer import Training
from tests.engine.train.given import SHORT


def train(given: tuple[Path, Path], out: Path, rank: int | None, threads: int, talk: Connection) -> None:
    """The whole of it, unless it is killed."""
    torch.set_num_threads(threads)
    for progress in Training(SHORT, out, Given.of(*given, 512, rank)).steps():
        talk.send(f"{progress.stage} {progress.step}")
        talk.recv()
