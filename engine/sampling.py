"""From logits to tokens, for all rows of a pass at once.

A pick is a pure function of one row of logits, the sampling parameters, the tokens before it, the sampling key and the absolute
position of the token to be picked: the highest score at temperature 0, else the highest of score / temperature + Gumbel noise
(an exact softmax sample, Gumbel 1954). Ties go to the lowest id. A draft and its verification use the same noise. The mask id
is never picked. Log-probabilities are those of the raw logits at temperature 1, rounded to float32.

Greedy rows and rows with a temperature alone are picked together; what needs more (penalties, filters, a constraint, a thinking
budget) changes the scores of its own rows first.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.plan import Ints
from engine.request import Sampling
from engine.value import value
from kernels.head import Heat
from kernels.noise import gumbel


def sampling_key(sampling: Sampling) -> int:
    """H(seed, choice): the first 64 bits of SHA-256 over the seed (8 bytes) and the choice (4 bytes), as a signed integer."""
    digest = hashlib.sha256(sampling.seed.to_bytes(8, "big") + sampling.choice.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@value
class Rules:
    """What one generation's rows of a pass are subject to, beside the temperature; all arrays have its n wanted rows.

    `allowed` bool [n, V] is what a constraint permits, `forced` [n] an id that must be picked or -1, `output_counts` and
    `seen` [n, V] how often each id stands in the answer before the row, and whether in prompt or answer.
    """

    sampling: Sampling
    allowed: NDArray[np.bool_] | None = None
    forced: Ints | None = None
    output_counts: NDArray[np.int32] | None = None
    seen: NDArray[np.bool_] | None = None

    @property
    def bounds_alone(self) -> bool:
        """Whether they are no more than what a constraint permits."""
        return self.output_counts is None and self.forced is None and not self.sampling.filtered


@value
class Ask:
    """The wanted rows of one generation: how many, and what they are subject to.

    `top` alternatives are told of each, and with `others` the log-probability of any token in the last.
    """

    rows: int
    temperature: float
    key: int
    targets: Sequence[int] = ()
    top: int = 0
    rules: Rules | None = None
    others: bool = False

    @property
    def plain(self) -> bool:
        """Whether scores, noise and what a constraint permits decide, and no alternative is told: that needs no host."""
        return not self.top and (self.rules is None or self.rules.bounds_alone)


@value
class Picks:
    """One picked id per row with its log-probability; `scored` are the log-probabilities of the targets that were asked for.

    `top_ids` and `top_logprob` [n][top] are the likeliest tokens; `last` tells that of any token in the last row, where asked.
    """

    ids: list[int]
    logprob: list[float]
    scored: list[float] = field(default_factory=list)
    top_ids: list[list[int]] = field(default_factory=list)
    top_logprob: list[list[float]] = field(default_factory=list)
    last: Callable[[int], float] | None = None

    def part(self, start: int, end: int | None = None) -> Picks:
        """The picks of the rows from `start` to `end`."""
        rows = slice(start, end)
        return Picks(self.ids[rows], self.logprob[rows], [], self.top_ids[rows], self.top_logprob[rows], self.last)

    def last_logprob(self, token: int) -> float:
        """The log-probability of another token than the one picked, in the last row."""
        if self.last is None:
            raise ValueError("these picks know no other token: ask for them with `others`")
        return self.last(token)


Draw = Callable[[Tensor, Heat, int], Tensor]
"""Picks one id of each row, as `drawn` does."""


def drawn(scores: Tensor, heat: Heat, never: int) -> Tensor:
    """The definition, int64 [n]: of `scores` [n, V] the first of the highest of each row, the id `never` apart.

    Where there is a temperature, of score / temperature + noise.
    """
    heated = scores.clone()
    heated[:, never] = -math.inf
    warm = heat.temperature.nonzero()[:, 0]
    if len(warm):
        noise = gumbel(heat.key[warm], heat.position[warm], scores.shape[1])
        heated[warm] = heated[warm] / heat.temperature[warm, None] + noise
    return torch.from_numpy(heated.numpy().argmax(axis=-1))  # numpy's is many times quicker than torch's


def spans(asks: Sequence[Ask]) -> list[tuple[Ask, slice]]:
    """Which rows are whose: each ask has the next of them."""
    start, found = 0, list[tuple[Ask, slice]]()
    for ask in asks:
        found.append((ask, slice(start, start + ask.rows)))
        start += ask.rows
    return found


def heat_of(positions: Ints, asks: Sequence[Ask]) -> Heat:
    """Temperature and noise of every row at `positions` [W]; each ask has the next of the rows."""
    counts = [ask.rows for ask in asks]
    temperature = np.repeat(np.array([ask.temperature for ask in asks], dtype=np.float32), counts)
    key = np.repeat(np.array([ask.key for ask in asks], dtype=np.int64), counts)
    return Heat(torch.from_numpy(temperature), torch.from_numpy(key), torch.from_numpy(np.ascontiguousarray(positions)))


def confidences(logprob: Sequence[float]) -> tuple[float, ...]:
    """The probabilities of float32 log-probabilities, as float32 values."""
    return tuple(np.exp(np.array(logprob, dtype=np.float32)).tolist())


@value
class Logits:
    """Logits float32 [W, V] as the network gave them, and what each row comes to.

    `best` [W] is the first of the highest, the mask id apart, and `logprob` [W] its log-probability. That of any token is its
    logit less `peak` less `mass`. Rows that are not finite have an arbitrary best and a log-probability that is not finite.
    `draw` is how whoever made them picks where more than the best decides.
    """

    raw: NDArray[np.float32]
    mask_id: int
    best: NDArray[np.integer]
    logprob: NDArray[np.float32]
    peak: NDArray[np.float32]
    mass: NDArray[np.float32]
    draw: Draw = drawn

    @classmethod
    def of(cls, logits: Tensor, mask_id: int) -> Self:
        """By torch's own softmax."""
        logprobs, raw = torch.log_softmax(logits, dim=-1).numpy(), logits.numpy()
        rows, masked = np.arange(len(raw)), raw[:, mask_id].copy()
        raw[:, mask_id] = -math.inf
        best = raw.argmax(axis=-1)
        raw[:, mask_id] = masked
        logprob = logprobs[rows, best]
        return cls(raw, mask_id, best, logprob, np.maximum(raw[rows, best], masked), -np.maximum(logprob, logprobs[:, mask_id]))

    def logprobs(self, rows: slice) -> NDArray[np.float32]:
        """The log-probabilities of all tokens in some rows."""
        return self.raw[rows] - self.peak[rows, None] - self.mass[rows, None]

    def logprobs_of(self, start: int, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """The log-probability of one token in each of the rows from `start` on."""
        rows = np.arange(start, start + len(ids))
        found: NDArray[np.float32] = self.raw[rows, ids] - self.peak[rows] - self.mass[rows]
        return found


def sample(logits: Logits, positions: Ints, asks: Sequence[Ask]) -> list[Picks]:
    """Pick the tokens at absolute `positions` [W]; each ask has the next of the rows."""
    ids, chosen = logits.best, logits.logprob
    if any(ask.temperature or ask.rules is not None for ask in asks):
        ids = logits.draw(_shaped(logits, asks), heat_of(positions, asks), logits.mask_id).numpy()
        chosen = logits.logprobs_of(0, ids)
    return _split(asks, ids.tolist(), chosen.tolist(), logits)


def _shaped(logits: Logits, asks: Sequence[Ask]) -> Tensor:
    """The scores of all rows, those with rules changed by them."""
    scores = torch.from_numpy(logits.raw)
    if all(ask.rules is None for ask in asks):
        return scores
    scores = scores.clone()
    scores[:, logits.mask_id] = -math.inf  # filters rank what can be picked
    for ask, rows in spans(asks):
        if ask.rules is not None:
            shape(scores[rows], ask.rules)
    return scores


def _split(asks: Sequence[Ask], ids: list[int], chosen: list[float], logits: Logits) -> list[Picks]:
    """Hand each ask its rows. Picks outlive their pass and keep nothing of it but what they were asked for."""
    found: list[Picks] = []
    for ask, rows in spans(asks):
        scored: list[float] = logits.logprobs_of(rows.start, np.array(ask.targets)).tolist() if ask.targets else []
        top_ids: list[list[int]] = []
        top_logprob: list[list[float]] = []
        if ask.top:
            values, where = torch.from_numpy(logits.logprobs(rows)).topk(ask.top, dim=-1)
            top_ids, top_logprob = where.tolist(), values.tolist()
        last = logits.logprobs(slice(rows.stop - 1, rows.stop))[0].item if ask.others else None
        found.append(Picks(ids[rows], chosen[rows], scored, top_ids, top_logprob, last))
    return found


def shape(scores: Tensor, rules: Rules) -> None:
    """Apply penalties, constraint, forced ids and filters to `scores` [n, V], in place, in this order."""
    if rules.output_counts is not None and rules.seen is not None:
        _penalise(scores, rules.sampling, torch.from_numpy(rules.output_counts), torch.from_numpy(rules.seen))
    if rules.allowed is not None:
        scores.masked_fill_(~torch.from_numpy(rules.allowed), -math.inf)
    if rules.forced is not None:
        for row in np.flatnonzero(rules.forced >= 0).tolist():
            scores[row] = -math.inf
            scores[row, int(rules.forced[row])] = 0.0
    if rules.sampling.filtered:
        _filter(scores, rules.sampling)


def _penalise(scores: Tensor, sampling: Sampling, counts: Tensor, seen: Tensor) -> None:
    """Repetition (Keskar et al. 2019) divides a seen token's positive score and multiplies a negative one."""
    if sampling.repetition_penalty != 1:
        factor = torch.where(scores > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty)
        scores.copy_(torch.where(seen, scores * factor, scores))
    scores.sub_(counts * sampling.frequency_penalty + (counts > 0) * sampling.presence_penalty)


def _filter(scores: Tensor, sampling: Sampling) -> None:
    """Cut what top-k, then top-p, then min-p leave out; the likeliest token always stays. Equal scores rank by lowest id."""
    ranked, order = scores.sort(dim=-1, descending=True, stable=True)
    keep = torch.ones_like(ranked, dtype=torch.bool)
    if sampling.top_k:
        keep[:, sampling.top_k :] = False
    probability = torch.softmax((ranked / sampling.temperature).masked_fill_(~keep, -math.inf), dim=-1)
    if sampling.top_p < 1:
        keep &= probability.cumsum(dim=-1) - probability < sampling.top_p
    if sampling.min_p:
        keep &= probability >= sampling.min_p * probability[:, :1]
    keep[:, 0] = True
    scores.masked_fill_(~torch.zeros_like(keep).scatter_(1, order, keep), -math.inf)
