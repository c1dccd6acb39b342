"""What a training begins with: nothing but a seed, or somebody's checkpoint and conversations.

An origin is plain data that a snapshot keeps. Opening it gives the same weights and the same rows again, or an error.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from engine.chat_template import ChatTemplate
from engine.config import CheckpointError, ModelConfig, RopeConfig
from engine.model.checkpoint import digest, load
from engine.model.network import Network
from engine.model.tensors import stored_weights
from engine.tokenizer import Tokenizer
from engine.train.chats import Chats, DataError, file_digest
from engine.train.corpus import FUNCTIONS, WHOLE, Example, example
from engine.train.grammar import Split
from engine.train.learner import AdaptedLearner, Learner, WholeLearner, with_drafter
from engine.train.lora import Adapters
from engine.train.recipe import Precision, Recipe
from engine.train.vocabulary import CHAT_TEMPLATE
from engine.train.vocabulary import build as build_vocabulary
from engine.train.wiring import initialise, wire

MIXTURES = {"functions": FUNCTIONS, "whole": WHOLE}
_DRAFTER_RANK = 16
_ROWS_OF_A_SEED = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Course:
    """A learner and its endless rows; `end_token` closes every row."""

    learner: Learner
    row: Callable[[int], Example]
    end_token: int


class Origin(Protocol):
    """Where weights and rows come from."""

    def open(self, recipe: Recipe, out: Path, device: torch.device) -> Course:
        """Weights as they were before the first step, and rows. Raises CheckpointError or DataError."""

    def document(self) -> dict[str, Any]:
        """Plain data, for JSON."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """The shipped shape with weights drawn from the seed and wired to copy, on exercises made from the seed."""

    mixture: str = "functions"

    def open(self, recipe: Recipe, out: Path, device: torch.device) -> Course:
        """Make the vocabulary in `out`, and weights of the recipe's seed; any that lie there were learnt since, and stay."""
        if not (out / "tokenizer.json").exists():
            build_vocabulary(out)
        tokenizer, mixture = Tokenizer.load(out), MIXTURES[self.mixture]
        network = initialise(tiny_config(tokenizer, mixture.limit), recipe.seed, _DRAFTER_RANK)
        wire(network, torch.Generator().manual_seed(recipe.seed))
        network.to(device)

        def row(index: int) -> Example:
            return example(recipe.seed * _ROWS_OF_A_SEED + index, Split.TRAIN, tokenizer, mixture)

        return Course(WholeLearner(network, out), row, tokenizer.eos_id)

    def document(self) -> dict[str, Any]:
        """Its name and choice."""
        return {"kind": "scratch"} | asdict(self)


@dataclass(frozen=True, slots=True)
class Given:
    """A checkpoint of the family and a file of chats, both known by digest; `rank` None trains every weight."""

    checkpoint: str
    checkpoint_digest: str
    data: str
    data_digest: str
    context: int
    rank: int | None

    @classmethod
    def of(cls, checkpoint: Path, data: Path, context: int, rank: int | None) -> Given:
        """What lies there now. Raises CheckpointError or DataError."""
        from_here = (str(checkpoint.resolve()), str(data.resolve()))
        return cls(from_here[0], digest(checkpoint), from_here[1], file_digest(data), context, rank)

    def open(self, recipe: Recipe, out: Path, device: torch.device) -> Course:
        """Read both again; a change since is an error."""
        folder, data = Path(self.checkpoint), Path(self.data)
        model = load(folder)
        if model.weights_digest != self.checkpoint_digest:
            raise CheckpointError(f"{folder} has changed since this training began: it cannot go on")
        if file_digest(data) != self.data_digest:
            raise DataError(f"{data}: it has changed since this training began, which cannot go on")
        context = min(self.context, model.config.max_position_embeddings)
        template = model.template or ChatTemplate(CHAT_TEMPLATE.read_text(encoding="utf-8"), model.tokenizer)
        chats = Chats(data, template, context, recipe.seed)
        out.mkdir(parents=True, exist_ok=True)
        if model.template is None:  # a base checkpoint learns the family's form, and its answers end as turns do
            shutil.copyfile(CHAT_TEMPLATE, out / CHAT_TEMPLATE.name)
            model.network.config = replace(model.network.config, eos_token_id=model.tokenizer.eos_id)
        if recipe.drafter_steps:
            with_drafter(model.network, _DRAFTER_RANK, recipe.seed)
        return Course(self._learner(model.network.to(device), recipe), chats.row, model.tokenizer.eos_id)

    def _learner(self, network: Network, recipe: Recipe) -> Learner:
        folder = Path(self.checkpoint)
        dtype = next(tensor.dtype for tensor in stored_weights(folder).values())
        if self.rank is None:
            return WholeLearner(network, folder, dtype)
        adapters = Adapters(network, self.rank, recipe.seed)
        if recipe.precision is Precision.BFLOAT16:
            adapters.halve()
        return AdaptedLearner(network, folder, dtype, adapters)

    def document(self) -> dict[str, Any]:
        """Both places with their digests."""
        return {"kind": "given"} | asdict(self)


def origin_of(document: Mapping[str, Any]) -> Origin:
    """What `document` wrote. Raises CheckpointError for anything else."""
    kinds: dict[str, Callable[..., Origin]] = {"scratch": Scratch, "given": Given}
    fields = dict(document)
    try:
        origin = kinds[fields.pop("kind")](**fields)
        for name, value in fields.items():
            numbers = {"context": (int,), "rank": (int, type(None))}.get(name)
            if type(value) not in (numbers or (str,)) or (numbers and value is not None and value < 1):
                raise TypeError(f"its {name} is {value!r}")
        if isinstance(origin, Scratch):
            MIXTURES[origin.mixture]
        return origin
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the snapshot names no origin that is known: {error}") from error


def tiny_config(tokenizer: Tokenizer, positions: int) -> ModelConfig:
    """The shipped shape: 2 M parameters in the family's architecture, for texts of `positions` tokens."""
    return ModelConfig(
        hidden_size=192,
        num_hidden_layers=4,
        intermediate_size=512,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        vocab_size=tokenizer.size,
        rms_norm_eps=1e-5,
        rope=RopeConfig(theta=1e6, factor=16.0, original_max_position=16384),
        max_position_embeddings=positions,
        bos_token_id=1,
        eos_token_id=tokenizer.eos_id,
        mask_token_id=tokenizer.mask_id,
        block_size=32,
    )
