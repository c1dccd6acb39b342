"""Curves: with the extra installed every figure can be read back by TensorBoard, without it the error says what to do."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from engine.train.curves import TensorBoard
from engine.train.recipe import Stage
from engine.train.trainer import Progress, TrainingError

HERE = find_spec("tensorboard") is not None
STEP = Progress(Stage.JOINT, 2, 5, {"ar": 1.5, "diffusion": 2.5}, rate=0.25, tokens_per_second=100.0)


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """All curves, read by TensorBoard itself."""
    reader: Any = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_figure_of_every_step_is_there(tmp_path: Path) -> None:
    """Where TensorBoard is installed its reader finds what was added; elsewhere opening curves names the extra."""
    if not HERE:
        with pytest.raises(TrainingError, match=r"palimpsest\[train\]"):
            TensorBoard(tmp_path)
        return
    with TensorBoard(tmp_path) as curves:
        curves.add(STEP, 7)
        curves.add(STEP, 8)
    names = {"joint/ar": 1.5, "joint/diffusion": 2.5, "joint/learning_rate": 0.25, "joint/tokens_per_second": 100.0}
    assert read(tmp_path) == {name: [(7, value), (8, value)] for name, value in names.items()}
