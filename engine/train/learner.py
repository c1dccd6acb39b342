"""Who learns: a whole network, or adapters over one that stays as it is.

A learner knows what a stage may change, what a snapshot must hold, and how the result becomes a checkpoint folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from engine.config import CheckpointError, read_json
from engine.model.checkpoint import ADAPTER, ADAPTER_CONFIG, released_names
from engine.model.network import Linear, Network, plain_linear
from engine.train.card import EXAMS
from engine.train.lora import Adapters
from engine.train.recipe import Stage
from engine.train.saving import SHARD_BYTES, save, save_drafter, whole, write, write_json

ADAPTER_FOLDER = "lora"
_BESIDE = {".json", ".jinja", ".py", ".txt"}
_NOT_KEPT = {"model.safetensors.index.json", "config.json", *EXAMS}
"""What is written anew, or was measured of other weights."""


class Learner(Protocol):
    """What a training acts on."""

    network: Network

    @property
    def linear(self) -> Linear:
        """How the network multiplies."""

    def trained(self, stage: Stage) -> dict[str, nn.Parameter]:
        """What a stage changes, by name."""

    def stored(self) -> dict[str, Tensor]:
        """Everything that training may have changed, by name; the names of `trained` are among them."""

    def publish(self, folder: Path, *, finished: bool) -> None:
        """Write what can be used by now; a whole checkpoint when `finished`."""


class WholeLearner:
    """Every weight learns in the first two stages, the drafter LoRA in the last."""

    def __init__(self, network: Network, like: Path, dtype: torch.dtype = torch.float32) -> None:
        """`like` is the folder whose tokenizer and settings go with the result; `dtype` is how weights are stored."""
        self.network, self.linear, self._like, self._dtype = network, plain_linear, like, dtype

    def trained(self, stage: Stage) -> dict[str, nn.Parameter]:
        """The weights, or the drafter LoRA."""
        return _learning(self.network, drafter=stage is Stage.DRAFTER)

    def stored(self) -> dict[str, Tensor]:
        """All parameters."""
        return dict(released_names(self.network))

    def publish(self, folder: Path, *, finished: bool) -> None:
        """A loadable checkpoint at any time while it is one file, which is replaced as a whole; shards only when finished."""
        small = self._dtype.itemsize * sum(p.numel() for p in self.network.parameters()) <= SHARD_BYTES
        if finished or small:
            _publish(folder, self.network, self._like, self._dtype)


class AdaptedLearner:
    """Adapters learn in the first two stages and are merged at the end; the drafter LoRA learns in the last."""

    def __init__(self, network: Network, like: Path, dtype: torch.dtype, adapters: Adapters) -> None:
        self.network, self.linear, self._like, self._dtype = network, adapters, like, dtype

    def trained(self, stage: Stage) -> dict[str, nn.Parameter]:
        """The adapters, or the drafter LoRA."""
        if stage is Stage.DRAFTER:
            return _learning(self.network, drafter=True)
        return {f"{name}.{side}": pair[side] for name, pair in self.linear.pairs.items() for side in (0, 1)}

    def stored(self) -> dict[str, Tensor]:
        """Both, and nothing of the weights below them."""
        return {**self.trained(Stage.JOINT), **self.trained(Stage.DRAFTER)}

    def publish(self, folder: Path, *, finished: bool) -> None:
        """The adapters in their own folder at any time; the checkpoint with them merged when finished."""
        place = folder / ADAPTER_FOLDER
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / ADAPTER_CONFIG, self.linear.document())
        write(place / ADAPTER, self.linear.tensors())
        save_drafter(folder, self.network)
        if finished:
            self.linear.merge()
            _publish(folder, self.network, self._like, self._dtype)


def restore(learner: Learner, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `stored` gave. Raises CheckpointError if the names or shapes are others."""
    wanted = learner.stored()
    if {name: tensor.shape for name, tensor in wanted.items()} != {name: tensor.shape for name, tensor in tensors.items()}:
        raise CheckpointError("the snapshot is of another network: its tensors have other names or shapes")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])


def with_drafter(network: Network, rank: int, seed: int) -> None:
    """Give `network` a drafter LoRA that changes nothing yet, unless it already has one that does."""
    pairs = [(p["self_attn.lora_a"], p["self_attn.lora_b"]) for p in (dict(each.named_parameters()) for each in network.layers)]
    if any(bool(second.any()) for _, second in pairs):
        return
    generator = torch.Generator().manual_seed(seed)
    network.lora_rank = rank
    for layer, (first, second) in zip(network.layers, pairs, strict=True):
        drawn = torch.randn(rank, first.shape[1], generator=generator) / first.shape[1] ** 0.5
        attention = layer.get_submodule("self_attn")
        attention.register_parameter("lora_a", nn.Parameter(drawn))
        attention.register_parameter("lora_b", nn.Parameter(torch.zeros(second.shape[0], rank)))


def _learning(network: Network, *, drafter: bool) -> dict[str, nn.Parameter]:
    """By their released names, the drafter LoRA's parameters or all others."""
    return {name: parameter for name, parameter in released_names(network) if ("lora_" in name) is drafter}


def _publish(folder: Path, network: Network, like: Path, dtype: torch.dtype) -> None:
    """The checkpoint with all that stood beside the weights it came from."""
    save(folder, network, dtype=dtype)
    if like == folder:
        return
    for path in like.iterdir():
        if path.is_file() and path.suffix in _BESIDE and path.name not in _NOT_KEPT:
            whole(folder / path.name, partial(shutil.copyfile, path))
    learned = {"torch_dtype": str(dtype).removeprefix("torch."), "eos_token_id": network.config.eos_token_id}
    write_json(folder / "config.json", read_json(like / "config.json") | learned)
