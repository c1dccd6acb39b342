"""Checkpoint folders in the released layout: `config.json`, `model.safetensors`, `linear_spec_lora/`, tokenizer files.

Checkpoints are hostile input: safetensors only, every tensor's name and shape must be the expected one, and no code that
lies beside the weights is ever imported. The weights digest covers every file that shapes the output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.config import CheckpointError, ModelConfig
from engine.model.network import LORA_SCALE, Network
from engine.tokenizer import Tokenizer

LORA_FOLDER = "linear_spec_lora"
WEIGHTS = "model.safetensors"
_ADAPTER = "adapter_model.safetensors"
_ADAPTER_CONFIG = "adapter_config.json"
_STRIP = ("language_model.", "base_model.model.", "model.")
_LORA_PREFIX = "base_model.model.encoder.layers."


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready to run, with everything a record must say about it."""

    name: str
    config: ModelConfig
    network: Network
    tokenizer: Tokenizer
    weights_digest: str


def initialise(config: ModelConfig, seed: int, lora_rank: int = 16) -> Network:
    """Random weights, normal with deviation 0.02 and output projections scaled by depth; the drafter LoRA starts at zero."""
    generator = torch.Generator().manual_seed(seed)
    network = Network(config, lora_rank)
    residual = 0.02 / (2 * config.num_hidden_layers) ** 0.5
    for name, parameter in network.named_parameters():
        if name.endswith(("lora_b", "norm.weight", "layernorm.weight")):
            continue
        deviation = residual if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
        torch.nn.init.normal_(parameter, std=deviation, generator=generator)
    return network


def load(folder: Path, name: str | None = None) -> LoadedModel:
    """Read a checkpoint folder in float32 on the CPU. Raises CheckpointError naming the file and the tensor."""
    config = ModelConfig.read(folder)
    adapter = _adapter(folder)
    network = Network(config, lora_rank=adapter.rank)
    expected = dict(_released_names(network))
    tensors = {_canonical(key): value for key, value in _read(folder / WEIGHTS).items()} | adapter.tensors
    _fill(expected, tensors, folder)
    network.requires_grad_(False).eval()
    return LoadedModel(name or f"palimpsest-{folder.name}", config, network, Tokenizer.load(folder), digest(folder))


def save(folder: Path, network: Network, tokenizer_files: Path | None = None) -> None:
    """Write `network` in the released layout; copies tokenizer files from `tokenizer_files` when given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LORA_FOLDER).mkdir(exist_ok=True)
    names = dict(_released_names(network))
    weights = {name: value.detach().contiguous() for name, value in names.items() if "lora_" not in name}
    lora = {name: value.detach().contiguous() for name, value in names.items() if "lora_" in name}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    save_file(lora, folder / LORA_FOLDER / _ADAPTER, metadata={"format": "pt"})
    _write_json(folder / "config.json", network.config.document())
    _write_json(folder / LORA_FOLDER / _ADAPTER_CONFIG, _adapter_document(network.lora_rank))
    if tokenizer_files is not None and tokenizer_files != folder:
        for path in tokenizer_files.iterdir():
            if path.name in {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}:
                (folder / path.name).write_bytes(path.read_bytes())


def digest(folder: Path) -> str:
    """SHA-256 (hex) over names and contents of weights, adapter, config and tokenizer files."""
    total = hashlib.sha256()
    for name in (
        "config.json",
        WEIGHTS,
        f"{LORA_FOLDER}/{_ADAPTER}",
        f"{LORA_FOLDER}/{_ADAPTER_CONFIG}",
        "tokenizer.json",
    ):
        path = folder / name
        if path.exists():
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256")
            total.update(name.encode() + b"\0" + content.digest())
    return total.hexdigest()


@dataclass(frozen=True, slots=True)
class _Adapter:
    rank: int
    tensors: dict[str, Tensor]


def _adapter(folder: Path) -> _Adapter:
    """The drafter LoRA; absent in base checkpoints, where a rank of 1 with zero weights stands for "none"."""
    path = folder / LORA_FOLDER
    if not path.exists():
        return _Adapter(1, {})
    document = json.loads((path / _ADAPTER_CONFIG).read_text(encoding="utf-8"))
    rank, alpha = int(document["r"]), float(document["lora_alpha"])
    if alpha / rank != LORA_SCALE or document.get("target_modules") not in (["o_proj"], "o_proj"):
        raise CheckpointError(f"{path}: the drafter LoRA must sit on o_proj alone with alpha / r = {LORA_SCALE}")
    return _Adapter(rank, _read(path / _ADAPTER))


def _adapter_document(rank: int) -> dict[str, object]:
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": int(LORA_SCALE * rank),
        "target_modules": ["o_proj"],
        "lora_dropout": 0.0,
        "bias": "none",
        "task_type": "CAUSAL_LM",
    }


def _released_names(network: Network) -> Iterator[tuple[str, Tensor]]:
    """Parameters under their names in the released files (facts: tensor names 1.4 and LoRA keys 1.5)."""
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            layer, side = name.split(".")[1], name[-1].upper()
            yield f"{_LORA_PREFIX}{layer}.self_attn.o_proj.lora_{side}.weight", parameter
        elif name.startswith("diffusion_head"):
            yield name, parameter
        else:
            yield f"encoder.{name}", parameter


def _canonical(name: str) -> str:
    """Undo the prefixes that third-party exports put before the released names."""
    for prefix in _STRIP:
        name = name.removeprefix(prefix)
    if name.startswith("lm_head."):
        return "diffusion_head." + name.removeprefix("lm_head.")
    return name if name.startswith(("encoder.", "diffusion_head.")) else f"encoder.{name}"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: the checkpoint folder is incomplete") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a sound safetensors file: {error}") from error


def _fill(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], folder: Path) -> None:
    """Copy every expected tensor from `found`; a missing, unknown or misshapen one is an error."""
    lora_absent = not any("lora_" in name for name in found)
    missing = [name for name in expected if name not in found and not (lora_absent and "lora_" in name)]
    unknown = [name for name in found if name not in expected]
    if missing or unknown:
        raise CheckpointError(f"{folder}: missing tensors {missing[:5]}, unknown tensors {unknown[:5]}")
    with torch.no_grad():
        for name, value in found.items():
            if value.shape != expected[name].shape:
                raise CheckpointError(f"{folder}: {name} is {tuple(value.shape)}, expected {tuple(expected[name].shape)}")
            expected[name].copy_(value)


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
