"""Pages of keys and values, and the prefixes that may be shared between generations.

A page holds the keys and values of `PAGE` neighbouring positions of one sequence, in every layer. It has exactly one state:
the scratch page (number 0, where rows without a home write), free, owned (one reference per cache that has it in its table), or
cached (no references, but its content is known by a hash and may be taken up again; the longest unused goes first).

A full page of committed positions is known by a chain of hashes: H(parent, its tokens), from a salt that names the tenant,
the weights and the numeric policy. A hit also compares the tokens. Only whole pages are shared, and an owner never writes
below what it has filled, so a shared page never changes.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np
import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.errors import PageFault
from engine.events import octets
from engine.model.network import HOST

PAGE: Final = 32
"""Positions per page: the longest block, and the row tile of strict attention."""
SCRATCH: Final = 0


class PagePool:
    """All pages of one engine; owned by its thread. `kv` is [layers, pages, PAGE, 2, Hk, D], finite everywhere."""

    def __init__(self, config: ModelConfig, pages: int, dtype: torch.dtype, device: torch.device = HOST) -> None:
        """Room for `pages` pages beside the scratch page, by default in the host's memory."""
        shape = (config.num_hidden_layers, pages + 1, PAGE, 2, config.num_key_value_heads, config.head_dim)
        self.kv: Tensor = _zeros(shape, dtype, device)
        self.config = config
        self.size = pages
        self._free = dict.fromkeys(range(1, pages + 1))
        self._owners = [0] * (pages + 1)
        self._known: dict[bytes, int] = {}
        self._content: dict[int, tuple[bytes, tuple[int, ...]]] = {}
        self._unused: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Pages that can be had at once."""
        return len(self._free) + len(self._unused)

    @property
    def remembered(self) -> int:
        """Pages that nobody owns and whose content may be taken up again."""
        return len(self._unused)

    def take(self, count: int, after: int = SCRATCH) -> list[int] | None:
        """`count` pages of unknown content, if possible the neighbours of page `after`; None when there are too few."""
        if count > self.available:
            return None
        taken: list[int] = []
        for _ in range(count):
            after = self._next(after + 1)
            self._owners[after] = 1
            taken.append(after)
        return taken

    def _next(self, wished: int) -> int:
        if not self._free:
            page, _ = self._unused.popitem(last=False)
            self._forget(page)
            return page
        page = wished if wished in self._free else next(iter(self._free))
        del self._free[page]
        return page

    def release(self, pages: Sequence[int]) -> None:
        """Give up one reference to each page; those with known content stay for later, last page first to go."""
        for page in reversed(pages):
            self._owners[page] -= 1
            if self._owners[page] == 0:
                (self._unused if page in self._content else self._free)[page] = None

    def spoil(self, pages: Sequence[int]) -> None:
        """The content of these owned pages cannot be trusted: forget what was known of those that nobody else holds.

        They are set to zero, since even a hidden NaN would poison whoever gets the page next.
        """
        own = [page for page in pages if self._owners[page] == 1]
        for page in own:
            self._forget(page)
        self.kv[:, own] = 0

    def match(self, salt: bytes, tokens: Sequence[int]) -> list[tuple[int, bytes]]:
        """The longest chain of known pages that begins `tokens`, as (page, hash); each gets a reference."""
        found: list[tuple[int, bytes]] = []
        parent = salt
        for start in range(0, len(tokens) - PAGE + 1, PAGE):
            content = tuple(tokens[start : start + PAGE])
            parent = chain_hash(parent, content)
            page = self._known.get(parent)
            if page is None or self._content[page][1] != content:
                break
            self._owners[page] += 1
            self._unused.pop(page, None)
            found.append((page, parent))
        return found

    def publish(self, page: int, digest: bytes, tokens: Sequence[int]) -> None:
        """Let others find an owned page that is full and committed; the first with this content wins."""
        if digest not in self._known and page not in self._content:
            self._known[digest] = page
            self._content[page] = (digest, tuple(tokens))

    def check(self, owned: Sequence[Sequence[int]] = ()) -> None:
        """Every page has exactly one state, and as many references as tables in `owned` name it. Raises PageFault."""
        held = Counter(chain.from_iterable(owned))
        counted = sum(self._owners) == held.total() and all(self._owners[page] == count for page, count in held.items())
        apart = len(self._free) + len(self._unused) + len(held) == self.size
        if not counted or not apart or any(page in self._free or page in self._unused for page in held):
            raise PageFault("the page pool lost count: restart the engine and report this with its log")
        if set(self._known.values()) != self._content.keys():
            raise PageFault("the prefix index names pages it does not know: restart the engine and report this")

    def _forget(self, page: int) -> None:
        known = self._content.pop(page, None)
        if known is not None:
            del self._known[known[0]]


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    if device != HOST:
        return torch.zeros(shape, dtype=dtype, device=device)
    # Zeroed memory from numpy is claimed page by page as it is used, so a large pool costs nothing while it is empty.
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)


def chain_hash(parent: bytes, tokens: Sequence[int]) -> bytes:
    """H(parent, tokens): SHA-256 over the parent's hash and the ids, four bytes each, big-endian."""
    return hashlib.sha256(parent + octets(tokens)).digest()


def prefix_salt(*parts: str) -> bytes:
    """The root of a chain: prefixes are shared only where all parts (tenant, weights, numeric fingerprint) are equal."""
    return hashlib.sha256(b"".join(hashlib.sha256(part.encode()).digest() for part in parts)).digest()
