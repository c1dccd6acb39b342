"""What fits on a device: the weights, and of what is left as many pages of keys and values as there is room for.

A tenth of the device stays free beside what the largest pass needs, for activations, kernels and the library's work space.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Final

import torch

from engine.config import ModelConfig
from engine.errors import DoesNotFit
from engine.layout import PARTIALS_MOST
from engine.model.network import Network
from engine.pages import PAGE
from engine.scheduler import Capacity

SPARE: Final = 0.1
LEAST_PAGES: Final = 64
"""Fewer are no cache worth starting with: 2,048 positions for everybody together."""
_GIB: Final = 1 << 30


def require_room(network: Network, dtype: torch.dtype, device: torch.device) -> None:
    """Raise DoesNotFit where there is no such CUDA device, or where the weights, in `dtype`, leave no room for pages on it."""
    if device.type != "cuda":
        return
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise DoesNotFit(
            f"{device} is not here: torch {torch.__version__} finds {count} CUDA devices; "
            "name another, or install a torch that was built for CUDA and a driver for it"
        )
    fitting_pages(network.config, dtype, *_there(device), weights=weight_bytes(network, dtype))


def fitted(config: ModelConfig, dtype: torch.dtype, device: torch.device, capacity: Capacity) -> Capacity:
    """The capacity with all pages that a device has room for, once the weights lie there; the host's stays as it is."""
    if device.type != "cuda":
        return capacity
    return replace(capacity, pages=fitting_pages(config, dtype, *_there(device)))


def give_back(device: torch.device) -> None:
    """Let a CUDA device have back what nobody holds any more: an engine that is gone may linger, and torch keeps its memory."""
    gc.collect()
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()


def _there(device: torch.device) -> tuple[int, int]:
    """Free and all bytes of a device."""
    give_back(device)
    return torch.cuda.mem_get_info(device)


def weight_bytes(network: Network, dtype: torch.dtype) -> int:
    """What a network's weights take in `dtype`."""
    return sum(parameter.numel() for parameter in network.parameters()) * dtype.itemsize


def page_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """One page: keys and values of `PAGE` positions in every layer."""
    return config.num_hidden_layers * PAGE * 2 * config.num_key_value_heads * config.head_dim * dtype.itemsize


def work_bytes(config: ModelConfig) -> int:
    """What the largest pass needs: the head in float32, for rows that are picked on the host, and attention's partials."""
    partials = PARTIALS_MOST * config.num_attention_heads * (config.head_dim + 2)
    return 4 * (config.vocab_size * config.hidden_size + partials)


def fitting_pages(config: ModelConfig, dtype: torch.dtype, free: int, total: int, weights: int = 0) -> int:
    """How many pages, the scratch page apart, `free` of `total` bytes hold beside `weights` bytes and what stays free.

    Raises DoesNotFit for fewer than `LEAST_PAGES`.
    """
    spare = int(SPARE * total) + work_bytes(config)
    pages = (free - weights - spare) // page_bytes(config, dtype) - 1
    if pages < LEAST_PAGES:
        needed = weights + (LEAST_PAGES + 1) * page_bytes(config, dtype) + spare
        raise DoesNotFit(
            f"the device has {free / _GIB:.1f} of {total / _GIB:.1f} GiB free and this model needs {needed / _GIB:.1f}, "
            f"{weights / _GIB:.1f} of them for weights not loaded yet: free the device, or take a larger one or a smaller model"
        )
    return pages
