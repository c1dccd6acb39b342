"""A training between two steps, in one file: what was learned, the optimiser's moments, and where it stands.

The file is safetensors like a checkpoint, and is replaced as a whole, so a crash leaves the one before. Data and noise
follow from the step's number, so nothing else needs to be kept for the run to go on as if it had never stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from engine.config import CheckpointError
from engine.model.tensors import stored
from engine.train.recipe import Recipe, Stage
from engine.train.saving import write

FILE = "training.safetensors"
_LEARNED, _MOMENTS, _STORY = "learned/", "moments/", "palimpsest"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`step` steps of `stage` are done; `moments` are the optimiser's, by tensor name and its own key.

    `seconds` is what all steps so far took, in every process that had a part in them.
    """

    recipe: Recipe
    origin: Mapping[str, Any]
    stage: Stage
    step: int
    learned: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    seconds: float

    def write(self, folder: Path) -> None:
        """Replace the snapshot in `folder`."""
        tensors = {_LEARNED + name: tensor for name, tensor in self.learned.items()}
        for name, parts in self.moments.items():
            tensors |= {f"{_MOMENTS}{key}/{name}": tensor for key, tensor in parts.items()}
        story = {
            "recipe": self.recipe.document(),
            "origin": self.origin,
            "stage": self.stage,
            "step": self.step,
            "seconds": self.seconds,
        }
        write(folder / FILE, tensors, {_STORY: json.dumps(story)})

    @classmethod
    def read(cls, folder: Path) -> Snapshot:
        """The snapshot in `folder`. Raises CheckpointError if there is none to go on from."""
        path = folder / FILE
        if not path.exists():
            raise CheckpointError(f"{path} is missing: that folder holds no training to go on with")
        tensors = {name: tensor.read() for name, tensor in stored(path).items()}
        with safe_open(path, framework="pt") as opened:
            told = (opened.metadata() or {}).get(_STORY, "")
        try:
            story = json.loads(told)
            step, seconds = story["step"], story["seconds"]
            if type(step) is not int or step < 0 or type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
                raise ValueError(f"step {step!r} after {seconds!r} seconds")
            place = (Recipe.from_document(story["recipe"]), dict(story["origin"]), Stage(story["stage"]), step)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} was not written by this trainer: {error}") from error
        learned = {name.removeprefix(_LEARNED): tensor for name, tensor in tensors.items() if name.startswith(_LEARNED)}
        moments: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(_MOMENTS):
                part, _, owner = name.removeprefix(_MOMENTS).partition("/")
                moments.setdefault(owner, {})[part] = tensor
        return cls(*place, learned, moments, seconds)
