"""Picks where hidden states lie: the head fused with the choice, so that rows x vocabulary never exist.

That serves greedy rows, those with a temperature and those under a constraint, which goes along as bits. A row that needs more
(penalties, filters, a thinking budget, alternatives) has its logits carried to the host and is picked there, as is defined in
`engine.sampling`. Which way a row goes depends on its own request alone, so company changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.plan import Ints
from engine.sampling import Ask, Picks, sample
from kernels.head import Asked, Heat, pick
from kernels.linear import tiled_linear

NO_TARGET = -1


class DevicePicks:
    """The head [V, H] of a network, and what its rows pick."""

    def __init__(self, head: Tensor, mask_id: int) -> None:
        self._head, self._mask_id = head, mask_id

    def __call__(self, hidden: Tensor, positions: Ints, asks: Sequence[Ask]) -> list[Picks]:
        """Pick by `hidden` [W, H] the tokens at absolute `positions` [W]; each ask has the next of the rows."""
        starts = np.cumsum([0, *(ask.rows for ask in asks)])
        found: dict[int, Picks] = {}
        fused = [(ask.rules is None or ask.rules.bounds_alone) and not ask.top for ask in asks]
        for side, way in ((True, self._fused), (False, self._on_host)):
            chosen = [place for place, plain in enumerate(fused) if plain is side]
            if chosen:
                rows = np.concatenate([np.arange(starts[place], starts[place + 1]) for place in chosen])
                own = hidden if len(chosen) == len(asks) else hidden[torch.from_numpy(rows).to(hidden.device)]
                found |= zip(chosen, way(own, positions[rows], [asks[place] for place in chosen]), strict=True)
        return [found[place] for place in range(len(asks))]

    def _fused(self, hidden: Tensor, positions: Ints, asks: Sequence[Ask]) -> list[Picks]:
        targets = np.concatenate([np.array(ask.targets or (NO_TARGET,) * ask.rows, dtype=np.int32) for ask in asks])
        device = hidden.device
        heat, allowed = _heat(positions, asks, device), _allowed(asks, len(self._head), device)
        picked = pick(hidden, self._head, Asked(self._mask_id, torch.from_numpy(targets).to(device), heat, allowed))
        # One copy, and the only time that the host waits for the device.
        told = torch.stack((picked.token, *(part.view(torch.int32) for part in (picked.logit, picked.lse, picked.scored))))
        ids, *bits = told.cpu().numpy()
        logit, mass, scored = (part.view(np.float32) for part in bits)
        return [
            Picks(
                ids[rows].tolist(),
                (logit[rows] - mass[rows]).tolist(),
                (scored[rows] - mass[rows]).tolist() if ask.targets else [],
                last=_LastRow(hidden[rows.stop - 1].clone(), self._head, float(mass[rows.stop - 1])),
            )
            for ask, rows in _spans(asks)
        ]

    def _on_host(self, hidden: Tensor, positions: Ints, asks: Sequence[Ask]) -> list[Picks]:
        logits = tiled_linear(hidden.float(), self._wide).cpu()
        return sample(logits, positions, asks, self._mask_id)

    @cached_property
    def _wide(self) -> Tensor:
        """The head in float32, for logits that were rounded would tie; made when it is first needed."""
        return self._head.float()


@dataclass(frozen=True, slots=True, eq=False)
class _LastRow:
    """A row's log-probabilities, each computed when it is asked for: the row's state [H], the head, the log-sum-exp.

    The state is a copy: picks outlive their pass, and its other rows are not to be kept for that.
    """

    hidden: Tensor
    head: Tensor
    mass: float

    def __getitem__(self, token: int) -> float:
        # Float32 like every other figure. This sum has an order of its own, so a sure token's could come out above zero.
        return min(0.0, float(np.float32(float(self.head[token].float() @ self.hidden.float()) - self.mass)))


def _spans(asks: Sequence[Ask]) -> list[tuple[Ask, slice]]:
    """Which rows are whose."""
    ends = np.cumsum([ask.rows for ask in asks]).tolist()
    return [(ask, slice(end - ask.rows, end)) for ask, end in zip(asks, ends, strict=True)]


def _heat(positions: Ints, asks: Sequence[Ask], device: torch.device) -> Heat | None:
    """Temperature and noise of every row; None where all are greedy."""
    if not any(ask.temperature for ask in asks):
        return None
    counts = [ask.rows for ask in asks]
    temperature = np.repeat(np.array([ask.temperature for ask in asks], dtype=np.float32), counts)
    keys = np.repeat(np.array([ask.key for ask in asks], dtype=np.int64), counts)
    parts: tuple[NDArray[np.float32] | Ints, ...] = (temperature, keys, positions)
    return Heat(*(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts))


def _allowed(asks: Sequence[Ask], vocab: int, device: torch.device) -> Tensor | None:
    """What constraints permit, as `kernels.head.Asked` has it: every bit set for a row without one; None where none has any."""
    if all(ask.rules is None for ask in asks):
        return None
    words = np.full((sum(ask.rows for ask in asks), -(-vocab // 32)), -1, dtype="<i4")
    octets = words.view(np.uint8)
    for ask, rows in _spans(asks):
        if ask.rules is not None and ask.rules.allowed is not None:
            packed = np.packbits(ask.rules.allowed, axis=1, bitorder="little")
            octets[rows, : packed.shape[1]] = packed
    return torch.from_numpy(words.astype(np.int32, copy=False)).to(device)
