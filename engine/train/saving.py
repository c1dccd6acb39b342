"""Checkpoint folders in the released layout, written: what `engine.model.checkpoint` reads again.

A file written here appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from engine.config import MODEL_TYPE, ONLY, CheckpointError, ModelConfig
from engine.model.checkpoint import ADAPTER, ADAPTER_CONFIG, LORA_FOLDER, released_names
from engine.model.network import LORA_SCALE, Network
from engine.model.tensors import INDEX, WEIGHTS

ARCHITECTURE = "NemotronLabsDiffusionModel"
SHARD_BYTES = 5_000_000_000
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def save(
    folder: Path,
    network: Network,
    tokenizer_files: Path | None = None,
    dtype: torch.dtype = torch.float32,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write `network` in the released layout, weights in `dtype`; each file appears whole.

    Copies tokenizer files from `tokenizer_files` when given. The drafter LoRA is float32 at any `dtype`, as released.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config_document(network.config, str(dtype).removeprefix("torch.")))
    if tokenizer_files is not None and tokenizer_files != folder:
        for name in _TOKENIZER_FILES:
            if (tokenizer_files / name).exists():
                (folder / name).write_bytes((tokenizer_files / name).read_bytes())
    save_drafter(folder, network)
    weights = {name: value.detach().to(dtype) for name, value in released_names(network) if "lora_" not in name}
    write_weights(folder, weights, shard_bytes)


def save_drafter(folder: Path, network: Network) -> None:
    """Write the drafter LoRA alone, in its own folder."""
    place = folder / LORA_FOLDER
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / ADAPTER_CONFIG, adapter_document(network.lora_rank))
    write(place / ADAPTER, {name: value.detach().float() for name, value in released_names(network) if "lora_" in name})


def config_document(config: ModelConfig, dtype: str) -> dict[str, object]:
    """The `config.json` of this shape, in the family's layout, for weights stored as `dtype`."""
    shape = asdict(config)
    del shape["rope"]
    return {
        "architectures": [ARCHITECTURE],
        "model_type": MODEL_TYPE,
        **shape,
        **ONLY,
        "attention_dropout": 0.0,
        "dlm_paradigm": "bidirectional",
        "torch_dtype": dtype,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": config.rope.theta,
            "factor": config.rope.factor,
            "original_max_position_embeddings": config.rope.original_max_position,
            "beta_fast": config.rope.beta_fast,
            "beta_slow": config.rope.beta_slow,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "llama_4_scaling_beta": config.rope.query_scale_beta,
        },
    }


def adapter_document(rank: int, scale: float = LORA_SCALE, modules: Sequence[str] = ("o_proj",)) -> dict[str, object]:
    """PEFT's `adapter_config.json`, by default the drafter's."""
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": int(scale * rank),
        "target_modules": list(modules),
        "lora_dropout": 0.0,
        "bias": "none",
        "task_type": "CAUSAL_LM",
    }


def write_weights(folder: Path, tensors: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> None:
    """Write weights as one file or, above `shard_bytes`, as shards and an index, the index last."""
    shards = _shards(tensors, shard_bytes)
    if len(shards) == 1:
        write(folder / WEIGHTS, tensors)
        return
    placed: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write(folder / file, {name: tensors[name] for name in names})
        placed |= dict.fromkeys(names, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": placed})


def write(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """One safetensors file, whole or not at all. Raises CheckpointError that names it when the disk does not take it."""
    told = {"format": "pt", **(metadata or {})}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        whole(file, lambda path: save_file(plain, path, metadata=told))
    except SafetensorError as error:
        raise CheckpointError(f"{file} cannot be written: {error}") from error


def write_json(file: Path, document: Mapping[str, object]) -> None:
    """One JSON file, whole or not at all."""
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    whole(file, lambda path: path.write_text(text, encoding="utf-8"))


def whole(file: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a file in a folder beside `file`, then put it in its place; a crash leaves the old one.

    The folder goes whatever happens, at the next writing at the latest: a writer may put files of its own beside the one it
    was given. The file may be read by whom any new file may, whatever its writer thought.
    """
    beside = file.with_name(f".{file.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        made = beside / file.name
        made.touch()
        mode = made.stat().st_mode
        fill(made)
        made.chmod(mode)
        _flush(made)
        made.replace(file)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    _flush(file.parent)


def _flush(path: Path) -> None:
    """Ask the system to put a file, or the names in a folder, on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _shards(tensors: Mapping[str, Tensor], shard_bytes: int) -> list[list[str]]:
    """Names in order, cut wherever the next tensor would make a shard too large."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor.nbytes
    return shards
