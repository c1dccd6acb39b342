"""One pass of the whole network in one call, on a CPU: what `engine.library` defines, compiled.

A product's sum runs over its inputs in order and in float32, whatever the number of rows, and a row attends in steps of 512
keys, cut by absolute position; so here, too, the bits of a row depend on its own sequence alone. Weights, keys and values are
bfloat16 with AVX-512, or float32 with AVX-512 or AVX2, which gives the same bits on every processor that has either.
Legend: R rows, W wanted rows, H hidden, D head size, Hq query heads, Hk key heads, I inner, V vocabulary.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from kernels.cpu.build import HALF, SINGLE, Source, library
from kernels.head import Heat

WIDTH = 32
"""Every size is a multiple of it."""
MOST_HEAD, MOST_FOLDS, MOST_WIDTH = 256, 16, 1 << 15
MOST_NOISY = 32


@dataclass(frozen=True, slots=True)
class Build:
    """The pass in one kind of number; product.h reads weights of it `step` inputs at a time."""

    source: Source
    step: int


BUILDS = {torch.bfloat16: Build(HALF, 2), torch.float32: Build(SINGLE, 1)}


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer: norms [H], qkv [(Hq + 2 Hk) D, H], out and drafting [H, Hq D], gate, up [I, H], down [H, I].

    `drafting` is `out` for rows that run with the drafter LoRA, which is in it: they cost what others cost. None without one.
    """

    input_norm: Tensor
    qkv: Tensor
    out: Tensor
    drafting: Tensor | None
    post_norm: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a network."""

    hidden: int
    queries: int
    keys: int
    head: int
    inner: int
    vocabulary: int
    eps: float

    @property
    def fits(self) -> bool:
        """Whether the compiled pass has room for it."""
        widest = max(self.hidden, self.inner, (self.queries + 2 * self.keys) * self.head)
        whole = all(width % WIDTH == 0 for width in (self.hidden, self.inner, self.vocabulary, self.head))
        folds, odd = divmod(self.queries, self.keys)
        return whole and not odd and widest <= MOST_WIDTH and self.head <= MOST_HEAD and folds <= MOST_FOLDS


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Packed rows, int64 [R] each, contiguous.

    `groups` [G, 6] are start, count, size, clean rows, group size (MOST_NOISY at most) and first table of neighbouring
    sequences of one shape and hold every row, `tables` [S, pages] their pages; `gate` bool [R] marks those that run with the
    LoRA, or is None.
    """

    token: Tensor
    position: Tensor
    limit: Tensor
    slot: Tensor
    wanted: Tensor
    tables: Tensor
    groups: Tensor
    gate: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What a pass says of its W wanted rows, in room for W or more: `logits` float32 [W, V] and `outcome` int32 [W, 4].

    An outcome is the row's best id and the bits of three float32: the best id's log-probability, the peak and the mass. The
    log-probability of any id is its logit less peak less mass.
    """

    logits: Tensor
    outcome: Tensor

    @classmethod
    def of(cls, rows: int, vocabulary: int) -> Self:
        """Room for so many rows."""
        return cls(torch.empty(rows, vocabulary), torch.empty(rows, 4, dtype=torch.int32))


class Forward:
    """The compiled pass of one network. Owned by one thread; `usable` says whether there can be one here."""

    def __init__(
        self, shape: Shape, dtype: torch.dtype, embedding: Tensor, layers: Sequence[Layer], norm: Tensor, head: Tensor
    ) -> None:
        if not self.usable(shape, dtype) or (found := library(BUILDS[dtype].source)) is None:
            raise ValueError("this network has no compiled pass here: ask `usable` first")
        self._library, self._shape, self.digest = found.calls, shape, found.digest
        self._dtype, self._step = dtype, BUILDS[dtype].step
        self._lanes: int = found.calls.palimpsest_lanes()
        self._library.palimpsest_room.restype = ctypes.c_size_t
        self._kept = [self._stored(embedding), _single(norm), self._packed(_single(head), 1)]
        self._layers = (_Layer * len(layers))(*(self._layer(layer) for layer in layers))
        sizes = (shape.hidden, shape.queries, shape.keys, shape.head, shape.inner)
        ends = (tensor.data_ptr() for tensor in self._kept[:3])
        self._network = _Network(*sizes, shape.vocabulary, len(layers), shape.eps, *ends, None, None, self._layers)
        self._room = torch.empty(0, dtype=torch.uint8)
        self._turns = self._scales = torch.empty(0)

    @staticmethod
    def usable(shape: Shape, dtype: torch.dtype) -> bool:
        """Whether processor, compiler and sizes allow it in numbers of that type."""
        return shape.fits and dtype in BUILDS and library(BUILDS[dtype].source) is not None

    def positions(self, cosines: Tensor, sines: Tensor, scales: Tensor) -> None:
        """Rotations of positions 0, 1, ... : cosines and sines [P, D / 2], and what queries are multiplied by, [P]."""
        self._turns = _single(torch.cat((cosines, sines), dim=1))
        self._scales = _single(scales * (math.log2(math.e) / math.sqrt(self._shape.head)))
        self._network.turns, self._network.scales = self._turns.data_ptr(), self._scales.data_ptr()

    def __call__(self, rows: Rows, pages: Tensor, never: int, said: Said) -> None:
        """Put logits and outcomes into `said`; `never` is no row's best.

        `pages` [layers, pages, 32, 2, Hk, D], in the numbers of the pass, gets the keys and values of rows with a slot.
        `positions` must have been told as many as the rows need.
        """
        count, wanted = rows.token.numel(), rows.wanted.numel()
        need = self._library.palimpsest_room(ctypes.byref(self._network), ctypes.c_int64(count))
        if self._room.numel() < need:
            self._room = torch.empty(need, dtype=torch.uint8)
        fields = (rows.token, rows.position, rows.limit, rows.slot, rows.wanted, rows.tables, rows.groups)
        given = _Pass(
            *(count, wanted, rows.tables.shape[1], pages.stride(1), pages.stride(0), torch.get_num_threads(), never),
            *(field.data_ptr() for field in fields),
            None if rows.gate is None else rows.gate.data_ptr(),
            *(tensor.data_ptr() for tensor in (pages, said.logits, said.outcome)),
        )
        self._library.palimpsest_forward(
            ctypes.byref(self._network), ctypes.byref(given), ctypes.c_void_p(self._room.data_ptr())
        )

    def draw(self, scores: Tensor, heat: Heat, never: int) -> Tensor:
        """int64 [n]: of float32 `scores` [n, V] the first of the highest of each row, `never` apart.

        Where there is a temperature, of score / temperature + noise (kernels/noise.py). Raises ValueError for tensors of
        another kind.
        """
        rows, size = scores.shape
        parts = (heat.temperature, heat.key, heat.position)
        kinds = [part.dtype for part in (scores, *parts)] == [torch.float32, torch.float32, torch.int64, torch.int64]
        shapes = all(part.shape == (rows,) for part in parts)
        if not (kinds and shapes and all(part.is_contiguous() for part in (scores, *parts))):
            raise ValueError("scores [n, V] and temperatures [n] must be float32, keys and positions [n] int64, all contiguous")
        picked = torch.empty(rows, dtype=torch.int64)
        given = (part.data_ptr() for part in (scores, *parts, picked))
        self._library.palimpsest_draw(ctypes.byref(_Draw(rows, size, torch.get_num_threads(), never, *given)))
        return picked

    def _layer(self, layer: Layer) -> _Layer:
        blocks = (-1, self._lanes, self._shape.hidden)
        opened = torch.stack((layer.gate.view(blocks), layer.up.view(blocks)), dim=1).flatten(0, 2)
        products = (layer.qkv, layer.out, layer.drafting, opened, layer.down)
        weights = [None if weight is None else self._packed(self._stored(weight), self._step) for weight in products]
        norms = [_single(layer.input_norm), _single(layer.post_norm)]
        self._kept += [tensor for tensor in (*weights, *norms) if tensor is not None]
        return _Layer(*(None if tensor is None else tensor.data_ptr() for tensor in (*norms, *weights)))

    def _stored(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self._dtype).contiguous()

    def _packed(self, weight: Tensor, step: int) -> Tensor:
        """[N, K] as product.h reads it, [N / columns, K / step, columns, step]; what is missing of whole blocks is zero."""
        (rows, inner), columns = weight.shape, 2 * self._lanes
        padded = torch.nn.functional.pad(weight, (0, -inner % WIDTH, 0, -rows % columns))
        return padded.view(-1, columns, padded.shape[1] // step, step).permute(0, 2, 1, 3).contiguous()


def _single(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float32).contiguous()


class _Layer(ctypes.Structure):
    _fields_: ClassVar = [
        (name, ctypes.c_void_p) for name in ("input_norm", "post_norm", "qkv", "out", "drafting", "gate_up", "down")
    ]


class _Network(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("hidden", "queries", "keys", "head", "inner", "vocabulary", "layers")),
        ("eps", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("embedding", "norm", "vocabulary_weight", "turns", "scales")),
        ("layer", ctypes.POINTER(_Layer)),
    ]


class _Pass(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("rows", "wanted_rows", "table_width", "page_stride", "layer_stride")),
        *((name, ctypes.c_int64) for name in ("threads", "never")),
        *((name, ctypes.c_void_p) for name in ("token", "position", "limit", "slot", "wanted", "tables", "group")),
        *((name, ctypes.c_void_p) for name in ("gate", "pages", "logits", "outcome")),
    ]


class _Draw(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("rows", "size", "threads", "never")),
        *((name, ctypes.c_void_p) for name in ("scores", "temperature", "key", "position", "picked")),
    ]
