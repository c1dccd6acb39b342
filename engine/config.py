"""The shape of a checkpoint, read from the family's own `config.json`.

Only keys that change the arithmetic are kept. Nothing is guessed: a missing key that matters is an error that names it,
since a wrong RoPE factor or mask id gives fluent text that is quietly wrong (`factor` is obeyed as written, even below 1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL_TYPE = "nemotron_labs_diffusion"
_LARGEST_TEXT = 64 * 1024 * 1024


class CheckpointError(Exception):
    """A checkpoint cannot be used; the message says which file and what to do."""


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object of a checkpoint. Raises CheckpointError naming the file."""
    try:
        document = json.loads(read_text(file))
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing: point PALIMPSEST_CHECKPOINT at a checkpoint folder") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{file} must hold a JSON object")
    return document


def read_text(file: Path) -> str:
    """A text of a checkpoint. Raises CheckpointError for what cannot be one, FileNotFoundError and UnicodeDecodeError."""
    require_file(file)
    if file.stat().st_size > _LARGEST_TEXT:
        raise CheckpointError(f"{file} is larger than {_LARGEST_TEXT} bytes: that is no file of this family")
    return file.read_text(encoding="utf-8")


def require_file(file: Path) -> None:
    """Raise CheckpointError for a folder, and for a pipe or a device, of which the reading would have no end."""
    if file.exists() and not file.is_file():
        raise CheckpointError(f"{file} is no regular file: download the checkpoint again")


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """YaRN over rotary positions with the family's attention factor of exactly 1, plus the llama-4 query scale."""

    theta: float
    factor: float
    original_max_position: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    query_scale_beta: float = 0.1


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes are counts; `head_dim` is never derived, because heads * head_dim differs from `hidden_size` at 3B and 14B."""

    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    rms_norm_eps: float
    rope: RopeConfig
    max_position_embeddings: int
    bos_token_id: int
    eos_token_id: int
    mask_token_id: int
    block_size: int

    def __post_init__(self) -> None:
        """Raises CheckpointError naming sizes that do not go together."""
        if self.num_attention_heads % self.num_key_value_heads or self.head_dim % 2:
            raise CheckpointError("num_attention_heads must be a multiple of num_key_value_heads, and head_dim even")
        for key in ("bos_token_id", "eos_token_id", "mask_token_id"):
            if getattr(self, key) >= self.vocab_size:
                raise CheckpointError(f"{key} is {getattr(self, key)}, but there are only {self.vocab_size} tokens")

    @classmethod
    def read(cls, folder: Path) -> ModelConfig:
        """Read `folder/config.json`. Raises CheckpointError when it is absent, malformed or of another family."""
        return cls.from_document(read_json(folder / "config.json"))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ModelConfig:
        """Build from the parsed `config.json`. Raises CheckpointError naming the key that is missing or unsupported."""
        if document.get("model_type") != MODEL_TYPE:
            raise CheckpointError(f"model_type must be {MODEL_TYPE!r}, not {document.get('model_type')!r}")
        for key, only in ONLY.items():
            if document.get(key) not in (None, only):
                raise CheckpointError(f"{key} is {document[key]!r}, but the family knows {only!r} alone")
        try:
            return cls(
                **{key: _count(document, key) for key in _LARGEST},
                rms_norm_eps=_number(document, "rms_norm_eps", 1e-30, 1e30),
                rope=_rope(document),
            )
        except KeyError as error:
            raise CheckpointError(f"config.json lacks {error.args[0]!r}, which has no safe default") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"config.json holds a value that cannot be: {error}") from error


_LARGEST = {
    "hidden_size": 1 << 16,
    "num_hidden_layers": 1 << 10,
    "intermediate_size": 1 << 20,
    "num_attention_heads": 1 << 10,
    "num_key_value_heads": 1 << 10,
    "head_dim": 1 << 10,
    "vocab_size": 1 << 22,
    "max_position_embeddings": 1 << 26,
    "bos_token_id": 1 << 22,
    "eos_token_id": 1 << 22,
    "mask_token_id": 1 << 22,
    "block_size": 1 << 16,
}
"""The largest value of every whole number that is read, far above any model of the family."""


ONLY = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "sliding_window": None,
}
"""What would change the arithmetic if it were anything else."""


def _count(document: Mapping[str, Any], key: str) -> int:
    """A whole number; only ids may be zero. Raises KeyError or ValueError."""
    value, least = document[key], 0 if key.endswith("_id") else 1
    if type(value) is not int or not least <= value <= _LARGEST[key]:
        raise ValueError(f"{key} must be a whole number from {least} to {_LARGEST[key]}, not {value!r}")
    return value


def _number(document: Mapping[str, Any], key: str, least: float, most: float) -> float:
    """A number within bounds in which what is made of it stays finite. Raises KeyError, ValueError or OverflowError."""
    value = document[key]
    if type(value) not in (int, float) or not least <= value <= most:
        raise ValueError(f"{key} must be a number from {least} to {most}, not {value!r}")
    return float(value)


def _rope(document: Mapping[str, Any]) -> RopeConfig:
    """Accept `rope_parameters`, `rope_scaling`, or either with a top-level `rope_theta`."""
    found = document.get("rope_parameters") or document.get("rope_scaling")
    if not isinstance(found, dict):
        raise KeyError("rope_parameters")
    if found.get("rope_type", found.get("type")) != "yarn":
        raise ValueError("rope_type must be 'yarn'")
    if found.get("mscale", 1) != found.get("mscale_all_dim", 1):
        raise ValueError("mscale and mscale_all_dim differ, so the attention factor would not be 1")
    if found.get("attention_factor") not in (None, 1) or found.get("truncate") not in (None, True):
        raise ValueError("an attention_factor other than 1, or a ramp with truncate off, is of another family")
    told = {"beta_fast": 32, "beta_slow": 1, "llama_4_scaling_beta": 0} | found
    return RopeConfig(
        theta=_number(found if "rope_theta" in found else document, "rope_theta", 1 + 1e-6, 1e30),
        factor=_number(told, "factor", 1e-6, 1e6),
        original_max_position=int(_number(told, "original_max_position_embeddings", 1, _LARGEST["max_position_embeddings"])),
        beta_fast=_number(told, "beta_fast", 1e-6, 1e6),
        beta_slow=_number(told, "beta_slow", 1e-6, 1e6),
        query_scale_beta=_number(told, "llama_4_scaling_beta", -1e6, 1e6),
    )
