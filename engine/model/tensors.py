"""Tensors on disk: one safetensors file, or several with an index, as the family's large checkpoints have them.

Files are hostile input: nothing is read before every name, shape and type has been compared with what is expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.config import CheckpointError, read_json, require_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor in a file, not read yet."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    def read(self) -> Tensor:
        """The tensor itself, a view of the file: nothing is read before it is used."""
        with safe_open(self.file, framework="pt") as opened:
            tensor: Tensor = opened.get_tensor(self.name)
        return tensor


def weight_files(folder: Path) -> list[Path]:
    """The weights of a checkpoint: one file, or an index and its shards. Raises CheckpointError if there are both or none."""
    single, index = folder / WEIGHTS, folder / INDEX
    if single.exists() and index.exists():
        raise CheckpointError(f"{folder} holds both {WEIGHTS} and {INDEX}: remove the one that is not meant")
    if not index.exists():
        return [single]
    return [index, *sorted({folder / name for name in _weight_map(index).values()})]


def stored_weights(folder: Path) -> dict[str, Stored]:
    """Every weight of a checkpoint by its name in the files. Raises CheckpointError naming the file that is amiss."""
    index = folder / INDEX
    files = weight_files(folder)
    if files[0] != index:
        return stored(files[0])
    mapped = _weight_map(index)
    found = [tensor for file in files[1:] for tensor in stored(file).values()]
    wrong = {tensor.name for tensor in found if mapped.get(tensor.name) != tensor.file.name}
    wrong |= mapped.keys() - {tensor.name for tensor in found}
    if wrong:
        raise CheckpointError(f"{index} and its files disagree about {sorted(wrong)[:_SHOWN]}")
    return {tensor.name: tensor for tensor in found}


def stored(file: Path) -> dict[str, Stored]:
    """What one file holds, from its header alone. Raises CheckpointError if it is absent or unsound."""
    require_file(file)
    try:
        with safe_open(file, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
            return {
                name: Stored(file, name, tuple(part.get_shape()), _TYPES[part.get_dtype()]) for name, part in slices.items()
            }
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing: the checkpoint folder is incomplete") from error
    except SafetensorError as error:
        raise CheckpointError(f"{file} is not a sound safetensors file: {error}") from error
    except KeyError as error:
        raise CheckpointError(f"{file} holds tensors of type {error.args[0]}: float32, bfloat16 or float16 are read") from error


def check(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Stored], folder: Path) -> None:
    """Raises CheckpointError that names every kind of difference: missing, unknown or misshapen tensors."""
    missing = [name for name in expected if name not in found]
    unknown = [found[name].name for name in found if name not in expected]
    if missing or unknown:
        raise CheckpointError(f"{folder}: missing tensors {missing[:_SHOWN]}, unknown tensors {unknown[:_SHOWN]}")
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise CheckpointError(f"{folder}: {found[name].name} is {found[name].shape}, expected {shape}")


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor name to file name, none of which leads out of the folder."""
    mapped = read_json(index).get("weight_map")
    if not isinstance(mapped, dict) or not mapped:
        raise CheckpointError(f"{index} lacks its weight_map")
    for file in mapped.values():
        if not isinstance(file, str) or not _PLAIN.fullmatch(file):
            raise CheckpointError(f"{index} names {file!r}, which is no plain safetensors file of this folder")
    return mapped
