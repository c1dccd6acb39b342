"""Curves for TensorBoard: every figure of every step, by stage. Its writer is Apache-2.0 and comes with the extra `train`."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from engine.train.trainer import Progress, TrainingError

if TYPE_CHECKING:
    from typing import Self


class Curves(Protocol):
    """Where figures go, while it is open."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def add(self, progress: Progress, step: int) -> None:
        """The figures of step `step` of the whole run."""


class NoCurves:
    """Figures go nowhere."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def add(self, progress: Progress, step: int) -> None:
        """Nothing to do."""


class TensorBoard:
    """Figures go into an event file under `folder`, as `ar/ar`, `joint/diffusion` and so on."""

    def __init__(self, folder: Path) -> None:
        """Raises TrainingError where TensorBoard is not installed; nothing is written before it is open."""
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - present only with the extra
        except ImportError as error:
            raise TrainingError("curves need TensorBoard: install it with `pip install 'palimpsest[train]'`") from error
        self._folder, self._make = folder, SummaryWriter

    def __enter__(self) -> Self:
        self._writer = self._make(str(self._folder))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()

    def add(self, progress: Progress, step: int) -> None:
        """All figures, the learning rate and the speed."""
        figures = {**progress.figures, "learning_rate": progress.rate, "tokens_per_second": progress.tokens_per_second}
        for name, value in figures.items():
            self._writer.add_scalar(f"{progress.stage}/{name}", value, step)
