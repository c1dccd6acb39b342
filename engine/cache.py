"""The keys and values of one sequence: a table of pages and how far it is filled.

Only causal rows with the drafter LoRA off are ever written, at the slot of their absolute position, and they may be written
above `filled` before anyone knows whether they stay. Keeping n of them is `keep(n)`; dropping the others costs nothing,
since the next pass overwrites them: rollback is one integer.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.pages import PAGE, PagePool, chain_hash


class KVCache:
    """One sequence's cache; `filled` positions are part of it, the slots above are scratch."""

    __slots__ = ("_parent", "_pool", "_published", "_salt", "filled", "pages")

    def __init__(self, pool: PagePool, salt: bytes) -> None:
        """`salt` tells apart whose prefixes may be shared."""
        self._pool, self._salt = pool, salt
        self.pages: list[int] = []
        self.filled = 0
        self._published, self._parent = 0, salt

    def adopt(self, tokens: Sequence[int]) -> None:
        """Start, empty, from the longest known prefix of `tokens`."""
        for page, digest in self._pool.match(self._salt, tokens):
            self.pages.append(page)
            self._parent = digest
        self._published = len(self.pages)
        self.filled = self._published * PAGE

    def reserve(self, positions: int) -> bool:
        """Make slots below `positions` exist; False, and nothing changed, when the pool has too few pages."""
        missing = -(-positions // PAGE) - len(self.pages)
        if missing <= 0:
            return True
        taken = self._pool.take(missing, self.pages[-1] if self.pages else 0)
        self.pages += taken or ()
        return taken is not None

    def keep(self, count: int, tokens: Sequence[int]) -> None:
        """The first `count` scratch positions are filled now; `tokens` are the sequence's ids from position 0 on.

        Pages that became full can be found by others from here on.
        """
        self.filled += count
        while (self._published + 1) * PAGE <= self.filled:
            content = tokens[self._published * PAGE : (self._published + 1) * PAGE]
            self._parent = chain_hash(self._parent, content)
            self._pool.publish(self.pages[self._published], self._parent, content)
            self._published += 1

    def drop(self) -> None:
        """Give all pages back; the cache is empty again."""
        self._pool.release(self.pages)
        self.pages = []
        self.filled = self._published = 0
        self._parent = self._salt

    def spoil(self) -> None:
        """Nobody may find or inherit what is in these pages: a pass over them went wrong."""
        self._pool.spoil(self.pages)
