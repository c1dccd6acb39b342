"""Attention over runs of keys, for training on a CPU: the definition, the compiled kernel (`spans.cpp`), and who can use it.

A query sees the keys of its own row in [s0, s1) and in [s2, s3); the two do not meet. One that sees nothing gets zeros.
Shapes: b rows, n places, Hq query heads, Hk key heads, D head size.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from kernels.cpu.build import SPANS, library

_POINTERS = ("query", "key", "value", "spans", "out", "mass", "out_grad", "query_grad", "key_grad", "value_grad")
_HEADS = 32
"""A head is a multiple of what the loops take at once, with the widest vectors."""


def seen(spans: Tensor, keys: int) -> Tensor:
    """Boolean [b, n, keys], which query sees which key, from spans [b, n, 4]."""
    place, (s0, s1, s2, s3) = torch.arange(keys, device=spans.device), spans[..., None, :].unbind(-1)
    return ((place >= s0) & (place < s1)) | ((place >= s2) & (place < s3))


def definition(query: Tensor, key: Tensor, value: Tensor, spans: Tensor) -> Tensor:
    """What `attention` computes, by torch's own attention under a mask."""
    mask = seen(spans, key.shape[1])
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None], enable_gqa=True).transpose(1, 2)
    return torch.where(mask.any(dim=-1)[..., None, None], mixed, 0.0)


def usable(query: Tensor) -> bool:
    """Whether queries [..., D] on this machine can use `attention`."""
    return query.device.type == "cpu" and query.shape[-1] % _HEADS == 0 and library(SPANS) is not None


def attention(query: Tensor, key: Tensor, value: Tensor, spans: Tensor) -> Tensor:
    """float32 [b, n, Hq, D] from query [b, n, Hq, D], key and value [b, n, Hk, D] and int32 spans [b, n, 4]; differentiable.

    Scores are divided by the root of D. Runs on as many threads as torch; the bits do not depend on their number.
    """
    mixed: Tensor = _Attention.apply(query.float(), key.float(), value.float(), spans)  # type: ignore[no-untyped-call]
    return mixed


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, spans: Tensor) -> Tensor:
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        out = torch.empty_like(query)
        mass = query.new_empty(query.shape[0], query.shape[2], query.shape[1])
        _run("palimpsest_spans_forward", (query, key, value, spans, out, mass))
        ctx.save_for_backward(query, key, value, spans, out, mass)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        slopes = tuple(torch.empty_like(tensor) for tensor in saved[:3])
        _run("palimpsest_spans_backward", (*saved, grads[0].contiguous(), *slopes))
        return (*slopes, None)


def _run(name: str, tensors: tuple[Tensor, ...]) -> None:
    found = library(SPANS)
    if found is None:
        raise ValueError("this machine has no compiled attention: ask `usable` first")
    query, key, value, spans = tensors[:4]
    if key.shape != value.shape or (*key.shape[:2], key.shape[3]) != (*query.shape[:2], query.shape[3]):
        raise ValueError("query, key and value must have the same rows, places and head size")
    if spans.dtype is not torch.int32 or spans.shape != (*query.shape[:2], 4) or not spans.is_contiguous():
        raise ValueError("spans must be int32 [b, n, 4] and contiguous")
    rows, places, queries, head = query.shape
    call = _Call(rows, places, queries, key.shape[2], head, torch.get_num_threads(), head**-0.5)
    for name_of, tensor in zip(_POINTERS, tensors, strict=False):
        setattr(call, name_of, tensor.data_ptr())
    getattr(found.calls, name)(ctypes.byref(call))


class _Call(ctypes.Structure):
    """As spans.cpp has it."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "places", "queries", "keys", "head", "threads")),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in _POINTERS),
    )
