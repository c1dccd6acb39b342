"""What the tokens before a row do to its scores: penalties, and the end of a thinking budget.

A row's context is its sequence up to and including the row's own token (a noisy row: what is known before its position). It
is computed from the committed prefix and the rows of the step before it, never from what was already told, so a drafted and a
verified row at one position see the same context whenever the drafts before it hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.plan import Frame, Step
from engine.request import GenerationRequest
from engine.sampling import Rules


class RowRules:
    """One generation's rules; follows its committed tokens."""

    def __init__(self, request: GenerationRequest, vocab: int, think: tuple[int, int]) -> None:
        """`think` are the ids that open and close a thought."""
        self._request, self._prompt = request, len(request.prompt)
        self._penalised = request.sampling.penalised
        width = vocab if self._penalised else 0
        self._counts, self._seen = np.zeros(width, dtype=np.int32), np.zeros(width, dtype=np.bool_)
        if self._penalised:
            self._seen[list(request.prompt)] = True
        self._thought = _Thought(*think, request.think_budget) if request.think_budget is not None else None

    def commit(self, tokens: Sequence[int], start: int) -> None:
        """`tokens` stand at absolute position `start` of the committed prefix from now on."""
        if self._penalised:
            own = np.array(tokens[max(0, self._prompt - start) :], dtype=np.int64)
            np.add.at(self._counts, own, 1)
        if self._thought is not None:
            for place, token in enumerate(tokens):
                self._thought.read(token, start + place)

    def of(self, step: Step, start: int) -> Rules | None:
        """The rules of the wanted rows of `step`, whose first row stands at position `start`; None when there are none."""
        sampling = self._request.sampling
        if not self._penalised and self._thought is None and step.allowed is None and not sampling.filtered:
            return None
        wanted = step.wanted
        counts = seen = forced = None
        if self._penalised:
            contexts = self._counts + self._along(step, start)
            own = step.frame.rows[3, wanted] if step.frame.clean else wanted
            counts, seen = contexts[own], (self._seen | (contexts > 0))[own]
        if self._thought is not None:
            forced = self._thought.forced(step, start)[wanted]
        return Rules(sampling, _padded(step, len(wanted)), forced, counts, seen)

    def _along(self, step: Step, start: int) -> NDArray[np.int32]:
        """How often each id stands in the answer among the first 0, 1, 2 ... rows that others see, [rows + 1, V]."""
        frame = step.frame
        tokens = np.array(step.tokens)
        rows = np.arange(frame.clean or frame.size)
        counts = np.zeros((len(rows) + 1, len(self._counts)), dtype=np.int32)
        own = rows[start + rows >= self._prompt]
        counts[own + 1, tokens[own]] = 1
        return counts.cumsum(axis=0, dtype=np.int32)


def _padded(step: Step, wanted: int) -> NDArray[np.bool_] | None:
    """What the constraint permits, row by row; noisy rows behind the clean ones are free."""
    if step.allowed is None or len(step.allowed) == wanted:
        return step.allowed
    free = np.ones((wanted - len(step.allowed), step.allowed.shape[1]), dtype=np.bool_)
    return np.concatenate((step.allowed, free))


class _Thought:
    """Whether a thought is open, and since when, by its first mark; it must close at the latest `budget` tokens later."""

    def __init__(self, opens: int, closes: int, budget: int) -> None:
        self._opens, self._closes, self._budget = opens, closes, budget
        self._since: int | None = None

    def read(self, token: int, position: int) -> None:
        """The token at this position is known."""
        self._since = _after(token, position, self._since, self._opens, self._closes)

    def forced(self, step: Step, start: int) -> NDArray[np.int64]:
        """For each row the closing id if its pick must close the thought, else -1."""
        frame = step.frame
        found = np.full(frame.size, -1, dtype=np.int64)
        along: list[int | None] = [self._since]
        for row in range(frame.clean):
            along.append(_after(step.tokens[row], start + row, along[-1], self._opens, self._closes))
            if self._due(along[-1], start + row + 1):
                found[row] = self._closes
        for first in range(frame.clean, frame.size, frame.group_size or 1):
            self._force_group(step, frame, start, first, along[int(frame.rows[3, first])], found)
        return found

    def _force_group(
        self, step: Step, frame: Frame, start: int, first: int, since: int | None, found: NDArray[np.int64]
    ) -> None:
        """Noisy rows pick their own positions; behind a forced one the thought counts as closed."""
        for row in range(first, first + frame.group_size):
            position = start + int(frame.rows[0, row])
            if self._due(since, position):
                found[row], since = self._closes, None
            else:
                since = _after(step.tokens[row], position, since, self._opens, self._closes)

    def _due(self, since: int | None, position: int) -> bool:
        return since is not None and position - since >= self._budget


def _after(token: int, position: int, since: int | None, opens: int, closes: int) -> int | None:
    """Where the open thought began (the position of its first token), once `token` at `position` was read."""
    if token == opens:
        return position + 1 if since is None else since
    return None if token == closes else since
