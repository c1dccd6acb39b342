"""The visibility rule of one plan as attention calls over the page pool: masks are made once per pass, used in every layer.

Clean rows' keys and values are written to their slots first, so that what a row sees of its own sequence's clean rows lies
in the pages, below its limit. Noisy rows' keys and values come from the projection alone and never touch a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from engine.pages import PAGE, SCRATCH, PagePool
from engine.plan import Frame, Group, Ints, Plan
from kernels.attention import KEY_CHUNK, QUERY_TILE, Segment, grouped_attention, hiding_bias, tiled_attention

CHUNK_PAGES = KEY_CHUNK // PAGE


class _Writer:
    """Puts the keys and values of a pass's clean rows into their slots."""

    def __init__(self, plan: Plan, pool: PagePool) -> None:
        self._kv = pool.kv.flatten(3, 4).flatten(1, 2)
        rows = plan.written()
        self._rows = None if rows is None else torch.from_numpy(rows)
        self._slots = torch.from_numpy(plan.slot if rows is None else plan.slot[rows])

    def __call__(self, layer: int, fresh: Tensor) -> None:
        """`fresh` [R, 2 Hk, D]: keys, then values."""
        if self._rows is not None:
            fresh = fresh.index_select(0, self._rows)
        self._kv[layer].index_copy_(0, self._slots, fresh)


class GroupedAttention:
    """One padded call for each group of sequences with the same frame."""

    def __init__(self, plan: Plan, pool: PagePool) -> None:
        self._write, self._queries = _Writer(plan, pool), pool.config.num_attention_heads
        self._groups = [_Padded(plan, group, pool) for group in plan.groups]
        self._padding = len(plan.token) - plan.size

    def __call__(self, layer: int, rotated: Tensor) -> Tensor:
        self._write(layer, rotated[:, self._queries :])
        parts = [group.attend(layer, rotated[group.rows]) for group in self._groups]
        if self._padding:
            parts.append(rotated.new_zeros(self._padding, parts[0].shape[1]))
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Padded:
    """A group's pages and masks for one pass; the number of keys is that of whole pages, so that shapes come again."""

    def __init__(self, plan: Plan, group: Group, pool: PagePool) -> None:
        self.rows, self._frame, self._count, self._pool = group.rows, group.frame, group.count, pool
        limit = plan.limit[group.rows].reshape(group.count, group.frame.size)
        pages = -(-int(limit.max()) // PAGE)
        table = plan.tables[group.sequences, :pages]
        self._queries, self._seen = pool.config.num_attention_heads, pages * PAGE
        self._near = _neighbours(table)
        self._table = None if self._near else torch.from_numpy(table.reshape(-1))
        folds = self._queries // pool.config.num_key_value_heads
        self._bias = _bias(limit, self._seen, group.frame, folds, pool.kv.dtype)

    def attend(self, layer: int, rotated: Tensor) -> Tensor:
        """The group's rows [n q, Hq + 2 Hk, D] -> [n q, Hq D]."""
        rows = rotated.view(self._count, self._frame.size, *rotated.shape[1:])
        kv = self._pool.kv[layer]
        found = kv[self._near] if self._table is None else kv.index_select(0, self._table)
        keys = found.view(self._count, self._seen, *kv.shape[2:])
        if self._frame.noisy:
            beside = rows[:, self._frame.clean :, self._queries :]
            keys = torch.cat((keys, beside.reshape(self._count, -1, *kv.shape[2:])), dim=1)
        mixed = grouped_attention(rows[:, :, : self._queries], keys[:, :, 0], keys[:, :, 1], self._bias)
        return mixed.reshape(len(rotated), -1)


def _neighbours(table: Ints) -> slice | None:
    """The pages of a single sequence as a slice of the pool, if they lie side by side: then nothing is copied."""
    pages: list[int] = table[0].tolist()
    if len(table) > 1 or pages != list(range(pages[0], pages[0] + len(pages))):
        return None
    return slice(pages[0], pages[-1] + 1)


def _bias(limit: Ints, seen: int, frame: Frame, folds: int, dtype: torch.dtype) -> Tensor:
    """[n, 1, folds * q, seen + noisy]: what each row may see of the pages and of the noisy rows beside it."""
    visible = np.arange(seen) < limit[:, :, None]
    if frame.noisy:
        visible = np.concatenate((visible, np.broadcast_to(frame.beside, (len(limit), *frame.beside.shape))), axis=2)
    bias = np.where(visible, np.float32(0), np.float32(-np.inf))
    return torch.from_numpy(np.tile(bias, (1, folds, 1))).to(dtype)[:, None]


class TiledAttention:
    """Calls of fixed shape: all tiles of the plan side by side, those with most key chunks first."""

    def __init__(self, plan: Plan, pool: PagePool) -> None:
        self._write, self._pool, self._queries = _Writer(plan, pool), pool, pool.config.num_attention_heads
        rows, sequence, noisy = (np.concatenate(part) for part in zip(*map(group_tiles, plan.groups), strict=True))
        chunks = -(-plan.limit[rows].max(axis=1) // KEY_CHUNK)
        order = np.argsort(-chunks, kind="stable")
        rows, sequence, noisy = rows[order], sequence[order], noisy[order]
        self._index = torch.from_numpy(rows.reshape(-1))
        self._source = torch.from_numpy(_source(rows, len(plan.token)))
        self._chunks = [_chunk(plan, chunk, rows, sequence, chunks[order]) for chunk in range(int(chunks.max()))]
        self._beside = _noisy_bias(plan, rows, noisy) if noisy.any() else None

    def __call__(self, layer: int, rotated: Tensor) -> Tensor:
        self._write(layer, rotated[:, self._queries :])
        rows = rotated.index_select(0, self._index).view(-1, QUERY_TILE, *rotated.shape[1:])
        kv = self._pool.kv[layer]
        mixed = tiled_attention(rows[:, :, : self._queries], kv.shape[-2], self._segmented(kv, rows))
        return mixed.flatten(0, 1).index_select(0, self._source).flatten(1)

    def _segmented(self, kv: Tensor, rows: Tensor) -> Iterator[Segment]:
        for pages, bias in self._chunks:
            found = kv.index_select(0, pages).view(-1, KEY_CHUNK, *kv.shape[2:])
            yield Segment(found[:, :, 0], found[:, :, 1], bias)
        if self._beside is not None:
            key, value = rows[:, :, self._queries :].chunk(2, dim=2)
            yield Segment(key, value, self._beside)


def _chunk(plan: Plan, chunk: int, rows: Ints, sequence: Ints, chunks: Ints) -> tuple[Tensor, Tensor | None]:
    """The pages and the bias of one key chunk for all tiles that reach it; None where all of it is seen.

    A table that ends sooner goes on with the scratch page, which is hidden.
    """
    count = int((chunks > chunk).sum())
    tables = plan.tables[sequence[:count], chunk * CHUNK_PAGES : (chunk + 1) * CHUNK_PAGES]
    short = CHUNK_PAGES - tables.shape[1]
    pages = torch.from_numpy(np.pad(tables, ((0, 0), (0, short)), constant_values=SCRATCH).reshape(-1))
    limit = plan.limit[rows[:count]]
    first = chunk * KEY_CHUNK
    if limit.min() >= first + KEY_CHUNK:
        return pages, None
    visible = np.arange(first, first + KEY_CHUNK) < limit[:, :, None]
    return pages, hiding_bias(torch.from_numpy(visible))


def group_tiles(group: Group) -> tuple[Ints, Ints, Ints]:
    """A group's tiles: plan rows [t, T], sequence [t], and how many of the rows are noisy ones [t]."""
    rows, noisy = _frame_tiles(group.frame)
    laid = (group.starts()[:, None, None] + rows).reshape(-1, QUERY_TILE)
    return laid, np.repeat(group.sequence + np.arange(group.count), len(rows)), np.tile(noisy, group.count)


@lru_cache(maxsize=512)
def _frame_tiles(frame: Frame) -> tuple[Ints, Ints]:
    """Tiles of one sequence's rows, all clean or whole noisy groups; a short tile repeats its last row."""
    spans = [(start, min(start + QUERY_TILE, frame.clean)) for start in range(0, frame.clean, QUERY_TILE)]
    if frame.group_size:
        span = QUERY_TILE // frame.group_size * frame.group_size
        spans += [(start, min(start + span, frame.size)) for start in range(frame.clean, frame.size, span)]
    rows = np.stack([np.minimum(start + np.arange(QUERY_TILE), end - 1) for start, end in spans])
    return rows, np.array([end - start if start >= frame.clean else 0 for start, end in spans])


def _source(rows: Ints, count: int) -> Ints:
    """Where each of `count` plan rows stands among the tiles' rows; padding rows take any."""
    source = np.zeros(count, dtype=np.int64)
    flat = rows.reshape(-1)[::-1]
    source[flat] = np.arange(len(flat))[::-1]
    return source


def _noisy_bias(plan: Plan, rows: Ints, noisy: Ints) -> Tensor:
    """Bias [t, T, T]: a noisy row sees the rows of its own group in its tile; clean rows and repeated ones see nothing."""
    group = plan.field(1)[rows]
    real = np.arange(QUERY_TILE) < noisy[:, None]
    return hiding_bias(torch.from_numpy((group[:, :, None] == group[:, None, :]) & real[:, None, :]))
