"""Checkpoint folders in the released layout: `config.json`, `model.safetensors`, `linear_spec_lora/`, tokenizer files.

Checkpoints are hostile input: safetensors only, every tensor's name, shape and type must be the expected one before any is
read, and no code that lies beside the weights is ever imported. The weights digest covers every file that shapes what follows a
prompt's ids; the chat template shapes the prompt, which is on record id by id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from engine.apart import apart
from engine.chat_template import ChatTemplate
from engine.config import CheckpointError, ModelConfig, read_json
from engine.model.network import HOST, LORA_SCALE, Network
from engine.model.tensors import Stored, check, stored, stored_weights, weight_files
from engine.tokenizer import Tokenizer

LORA_FOLDER = "linear_spec_lora"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
_STRIP = ("language_model.", "base_model.model.", "model.")
_LORA_PREFIX = "base_model.model.encoder.layers."
_LARGEST_RANK = 4096


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready to run, with everything a record must say about it; a base checkpoint has no `template`.

    `device` is where it is to run. If that is not the host, the network is no copy: weights stored in bfloat16 are views of the
    files, read when they are laid out there.
    """

    name: str
    config: ModelConfig
    network: Network
    tokenizer: Tokenizer
    weights_digest: str
    template: ChatTemplate | None = None
    device: torch.device = HOST


def load(folder: Path, name: str | None = None, device: str = "cpu") -> LoadedModel:
    """Read a checkpoint folder, in float32 to run on the host, in bfloat16 to run on a device that torch names so.

    Raises CheckpointError naming the file and the tensor.
    """
    config, adapter = ModelConfig.read(folder), _adapter(folder)
    rank, drafter = adapter or (1, {})  # a rank of 1 with zero weights stands for none
    found = _canonical_names(stored_weights(folder), folder) | drafter
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in released_names(Network(config, rank))}
    if adapter is None:
        shapes = {name: shape for name, shape in shapes.items() if "lora_" not in name}
    check(shapes, found, folder)
    where = torch.device(device)
    network = Network.blank(config, rank, torch.float32 if where == HOST else torch.bfloat16)
    apart(lambda: _fill(network, found, where))
    network.requires_grad_(False).eval()
    tokenizer = Tokenizer.load(folder)
    _require_one_vocabulary(folder, config, tokenizer)
    template = ChatTemplate.load(folder, tokenizer)
    return LoadedModel(name or f"palimpsest-{folder.name}", config, network, tokenizer, digest(folder), template, where)


def _require_one_vocabulary(folder: Path, config: ModelConfig, tokenizer: Tokenizer) -> None:
    if tokenizer.mask_id != config.mask_token_id:
        raise CheckpointError(
            f"{folder}: mask_token_id is {config.mask_token_id} in config.json and {tokenizer.mask_id} in tokenizer.json: "
            "they are of different models"
        )
    if tokenizer.size > config.vocab_size:
        raise CheckpointError(
            f"{folder}: tokenizer.json has ids up to {tokenizer.size - 1}, the network has {config.vocab_size}: "
            "they are of different models"
        )


@torch.no_grad()
def _fill(network: Network, found: Mapping[str, Stored], device: torch.device) -> None:
    """Give parameters what is stored, or zeros. On the host it is copied, so that nobody who changes a file changes them."""
    for key, parameter in released_names(network):
        if (stored := found.get(key)) is None:
            parameter.zero_()
        elif device != HOST and stored.dtype is parameter.dtype:
            parameter.data = stored.read()
        else:
            parameter.copy_(stored.read())


def digest(folder: Path) -> str:
    """SHA-256 (hex) over names and contents of weights, adapter, `config.json` and `tokenizer.json`."""
    total = hashlib.sha256()
    weights = [path.name for path in weight_files(folder)]
    for name in ("config.json", *weights, f"{LORA_FOLDER}/{ADAPTER}", f"{LORA_FOLDER}/{ADAPTER_CONFIG}", "tokenizer.json"):
        path = folder / name
        if path.exists():
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256")
            total.update(name.encode() + b"\0" + content.digest())
    return total.hexdigest()


def _adapter(folder: Path) -> tuple[int, dict[str, Stored]] | None:
    """Rank and tensors of the drafter LoRA, which base checkpoints lack."""
    path = folder / LORA_FOLDER
    if not path.exists():
        return None
    document = read_json(path / ADAPTER_CONFIG)
    rank, alpha = document.get("r"), document.get("lora_alpha")
    if type(rank) is not int or not 0 < rank <= _LARGEST_RANK or type(alpha) not in (int, float):
        raise CheckpointError(f"{path / ADAPTER_CONFIG}: r must be a whole number up to {_LARGEST_RANK}, lora_alpha a number")
    if alpha != LORA_SCALE * rank or document.get("target_modules") not in (["o_proj"], "o_proj"):
        raise CheckpointError(f"{path}: the drafter LoRA must sit on o_proj alone with alpha / r = {LORA_SCALE}")
    if document.get("use_rslora") or document.get("use_dora"):
        raise CheckpointError(f"{path}: the drafter LoRA must be a plain one, without rsLoRA or DoRA")
    return rank, stored(path / ADAPTER)


def released_names(network: Network) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters under their names in the released files: `encoder.*`, `diffusion_head.weight`, PEFT's for the drafter."""
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            layer, side = name.split(".")[1], name[-1].upper()
            yield f"{_LORA_PREFIX}{layer}.self_attn.o_proj.lora_{side}.weight", parameter
        elif name.startswith("diffusion_head"):
            yield name, parameter
        else:
            yield f"encoder.{name}", parameter


def _canonical_names(found: Mapping[str, Stored], folder: Path) -> dict[str, Stored]:
    """Stored weights by their released names. Raises CheckpointError if two claim the same."""
    named = {_canonical(name): tensor for name, tensor in found.items()}
    if len(named) != len(found):
        twice = sorted(tensor.name for name, tensor in found.items() if named[_canonical(name)] is not tensor)
        raise CheckpointError(f"{folder}: {twice[:5]} are stored twice under different prefixes")
    return named


def _canonical(name: str) -> str:
    """Undo the prefixes that third-party exports put before the released names."""
    for prefix in _STRIP:
        name = name.removeprefix(prefix)
    if name.startswith("lm_head."):
        return "diffusion_head." + name.removeprefix("lm_head.")
    return name if name.startswith(("encoder.", "diffusion_head.")) else f"encoder.{name}"
