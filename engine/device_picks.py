"""Picks where hidden states lie: the head fused with the choice, so that rows x vocabulary never exist.

That serves greedy rows, those with a temperature and those under a constraint, which goes along as bits. A row that needs more
(penalties, filters, a thinking budget, alternatives) has its logits carried to the host and is picked there, as is defined in
`engine.sampling`. Which way a row goes depends on its own request alone, so company changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.layout import carried
from engine.plan import Ints
from engine.sampling import Ask, Logits, Picks, heat_of, sample, spans
from kernels.head import Asked, Heat, pick
from kernels.linear import tiled_linear

NO_TARGET = -1


class DevicePicks:
    """The head [V, H] of a network, and what its rows pick."""

    def __init__(self, head: Tensor, mask_id: int) -> None:
        self.head, self._mask_id = head, mask_id

    def __call__(self, hidden: Tensor, positions: Ints, asks: Sequence[Ask]) -> Picked:
        """Pick by `hidden` [W, H] the tokens at absolute `positions` [W]: each ask has the next of the rows. Nothing waits."""
        fused, others = (_Rows.of(hidden, positions, asks, plain) for plain in (True, False))
        facts = self._fused(fused) if fused.asks else hidden.new_empty((4, 0), dtype=torch.int32)
        return Picked(self, fused, others, facts)

    def _fused(self, rows: _Rows) -> Tensor:
        """Int32 [4, n]: the tokens, and the bits of their logits, of the log-sum-exps and of the targets' logits."""
        picked = pick(rows.hidden, self.head, self._asked(rows))
        return torch.stack((picked.token, *(part.view(torch.int32) for part in (picked.logit, picked.lse, picked.scored))))

    def _asked(self, rows: _Rows) -> Asked:
        """What is asked of the head, where that lies. In one copy: a host that waits for one waits for the pass before it."""
        targets = np.concatenate([np.array(ask.targets or (NO_TARGET,) * ask.rows, dtype=np.int32) for ask in rows.asks])
        heat, bounds = heat_of(rows.positions, rows.asks), _allowed(rows.asks, len(self.head))
        told = (targets, heat.temperature.numpy(), heat.key.numpy(), heat.position.numpy(), *bounds)
        target, temperature, key, position, *allowed = carried(told, rows.hidden.device)
        warm = any(ask.temperature for ask in rows.asks)
        return Asked(self._mask_id, target, Heat(temperature, key, position) if warm else None, *allowed)

    def on_host(self, rows: _Rows) -> list[Picks]:
        """The picks of rows whose logits are carried to the host."""
        logits = tiled_linear(rows.hidden.float(), self._wide).cpu()
        return sample(Logits.of(logits, self._mask_id), rows.positions, rows.asks)

    @cached_property
    def _wide(self) -> Tensor:
        """The head in float32, for logits that were rounded would tie; made when it is first needed."""
        return self.head.float()


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Those of a pass's wanted rows [W] that go one way: their `places` among all asks and their own `rows`."""

    asks: Sequence[Ask]
    places: Sequence[int]
    rows: Ints
    hidden: Tensor
    positions: Ints

    @classmethod
    def of(cls, hidden: Tensor, positions: Ints, asks: Sequence[Ask], plain: bool) -> Self:
        """The rows of the plain asks, or of the others."""
        starts = np.cumsum([0, *(ask.rows for ask in asks)])
        places = [place for place, ask in enumerate(asks) if ask.plain is plain]
        if not places:
            return cls((), (), starts[:0], hidden[:0], positions[:0])
        rows = np.concatenate([np.arange(starts[place], starts[place + 1]) for place in places])
        own = hidden if len(places) == len(asks) else hidden[carried([rows], hidden.device)[0]]
        return cls([asks[place] for place in places], places, rows, own, positions[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """What a pass picked, while it lies on the device: `facts` int32 [4, n] of the rows that were picked there."""

    by: DevicePicks
    fused: _Rows
    others: _Rows
    facts: Tensor

    def into(self, picked: Tensor) -> None:
        """Put each token where the next pass looks for it: at its place among the wanted rows."""
        rows = self.fused.rows
        where = carried([rows], picked.device)[0] if self.others.asks else slice(len(rows))
        picked[where] = self.facts[0]

    def read(self, facts: NDArray[np.int32]) -> list[Picks]:
        """The picks, by what the host was told: `facts` again, in its own memory."""
        found = dict(zip(self.fused.places, self._plain(facts), strict=True))
        if self.others.asks:
            found |= zip(self.others.places, self.by.on_host(self.others), strict=True)
        return [found[place] for place in sorted(found)]

    def _plain(self, facts: NDArray[np.int32]) -> list[Picks]:
        ids, *bits = facts
        logit, mass, scored = (part.view(np.float32) for part in bits)
        return [
            Picks(
                ids[rows].tolist(),
                (logit[rows] - mass[rows]).tolist(),
                (scored[rows] - mass[rows]).tolist() if ask.targets else [],
                last=self._last(rows.stop - 1, float(mass[rows.stop - 1])) if ask.others else None,
            )
            for ask, rows in spans(self.fused.asks)
        ]

    def _last(self, row: int, mass: float) -> Callable[[int], float]:
        """The log-probability of any token in one row, computed when it is asked for, from a copy of the row's state.

        Picks outlive their pass, and its other rows are not to be kept for that.
        """
        hidden, head = self.fused.hidden[row].clone(), self.by.head
        # Float32 like every other figure. This sum has an order of its own, so a sure token's could come out above zero.
        return lambda token: min(0.0, float(np.float32(float(head[token].float() @ hidden.float()) - mass)))


def _allowed(asks: Sequence[Ask], vocab: int) -> list[NDArray[np.int32]]:
    """What constraints permit, as `kernels.head.Asked` has it: every bit set for a row without one; none if nobody has one."""
    if all(ask.rules is None for ask in asks):
        return []
    words = np.full((sum(ask.rows for ask in asks), -(-vocab // 32)), -1, dtype="<i4")
    octets = words.view(np.uint8)
    for ask, rows in spans(asks):
        if ask.rules is not None and ask.rules.allowed is not None:
            packed = np.packbits(ask.rules.allowed, axis=1, bitorder="little")
            octets[rows, : packed.shape[1]] = packed
    return [words.astype(np.int32, copy=False)]
