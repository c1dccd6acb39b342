"""Attention over runs of keys, for training on a CPU: the definition, the compiled kernel (`spans.cpp`), and who can use it.

Rows of any lengths lie one behind the other, without padding; a place of a row need not ask. A query sees the keys of its own
row in [s0, s1) and in [s2, s3), counted from where the row begins; the two do not meet. One that sees nothing gets zeros.
Shapes: b rows, q queries and n keys of all rows together, Hq query heads, Hk key heads, D head size.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor

from kernels.cpu.build import SPANS, library

_POINTERS = ("query", "key", "value", "spans", "out", "mass", "out_grad", "query_grad", "key_grad", "value_grad")
_HEADS, _WIDEST = 32, 256
"""A head is a multiple of what the loops take at once, with the widest vectors, and has room in a tile."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Who sees what: spans int32 [q, 4]; asking and places int64 [b + 1], where each row's queries and keys begin and end."""

    spans: Tensor
    asking: Tensor
    places: Tensor


def seen(spans: Tensor, keys: int) -> Tensor:
    """Boolean [..., n, keys], which query sees which key of its row, from spans [..., n, 4]."""
    place, (s0, s1, s2, s3) = torch.arange(keys, device=spans.device), spans[..., None, :].unbind(-1)
    return ((place >= s0) & (place < s1)) | ((place >= s2) & (place < s3))


def definition(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
    """What `attention` computes, a row at a time, by torch's own attention under a mask."""
    asking, places = rows.asking.diff().tolist(), rows.places.diff().tolist()
    whole = ((query, asking), (key, places), (value, places), (rows.spans, asking))
    parts = (torch.split(tensor, lengths) for tensor, lengths in whole)
    return torch.cat([_row(*part) for part in zip(*parts, strict=True)])


def _row(query: Tensor, key: Tensor, value: Tensor, spans: Tensor) -> Tensor:
    mask = seen(spans, len(key))
    query, key, value = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)[0].transpose(0, 1)
    return torch.where(mask.any(dim=-1)[:, None, None], mixed, 0.0)


def usable(query: Tensor) -> bool:
    """Whether queries [..., D] on this machine can use `attention`."""
    return (
        query.device.type == "cpu"
        and query.shape[-1] % _HEADS == 0
        and query.shape[-1] <= _WIDEST
        and library(SPANS) is not None
    )


def attention(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
    """float32 [q, Hq, D] from query [q, Hq, D], key and value [n, Hk, D]; differentiable.

    Scores are divided by the root of D. Runs on as many threads as torch; the bits do not depend on their number.
    """
    mixed: Tensor = _Attention.apply(query.float(), key.float(), value.float(), rows)  # type: ignore[no-untyped-call]
    return mixed


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        out, mass = torch.empty_like(query), query.new_empty(query.shape[:2])
        _run("palimpsest_spans_forward", rows, (query, key, value, rows.spans, out, mass))
        ctx.save_for_backward(query, key, value, rows.spans, out, mass)
        ctx.rows = rows
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        slopes = tuple(torch.empty_like(tensor) for tensor in saved[:3])
        _run("palimpsest_spans_backward", ctx.rows, (*saved, grads[0].contiguous(), *slopes))
        return (*slopes, None)


def _run(name: str, rows: Rows, tensors: tuple[Tensor, ...]) -> None:
    found = library(SPANS)
    if found is None:
        raise ValueError("this machine has no compiled attention: ask `usable` first")
    query, key, value, spans = tensors[:4]
    if key.shape != value.shape or key.shape[2] != query.shape[2]:
        raise ValueError("key and value must have the same places and heads, and query their head size")
    if spans.dtype is not torch.int32 or spans.shape != (len(query), 4) or not spans.is_contiguous():
        raise ValueError("spans must be int32 [q, 4] and contiguous")
    lengths = [_lengths(borders, count) for borders, count in ((rows.asking, len(query)), (rows.places, len(key)))]
    if len(rows.asking) != len(rows.places):
        raise ValueError("queries and keys must have as many rows")
    longest = int(lengths[1].max())
    call = _Call(
        len(lengths[1]), longest, query.shape[1], key.shape[1], key.shape[2], torch.get_num_threads(), key.shape[2] ** -0.5
    )
    call.asking, call.places = rows.asking.data_ptr(), rows.places.data_ptr()
    for name_of, tensor in zip(_POINTERS, tensors, strict=False):
        setattr(call, name_of, tensor.data_ptr())
    getattr(found.calls, name)(ctypes.byref(call))


def _lengths(borders: Tensor, count: int) -> Tensor:
    """How many each row has, [b]. Raises ValueError unless `borders` cut `count` into rows."""
    lengths = borders.diff()
    whole = borders.dtype is torch.int64 and borders.is_contiguous() and len(lengths) > 0
    if not whole or borders[0] != 0 or borders[-1] != count or lengths.min() < 0:
        raise ValueError(f"borders must be int64, contiguous, and rise from 0 to {count}")
    return lengths


class _Call(ctypes.Structure):
    """As spans.cpp has it."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "longest", "queries", "keys", "head", "threads")),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("asking", "places", *_POINTERS)),
    )
