"""A plan of the engine as the kernels take it."""

from __future__ import annotations

import numpy as np
import torch

from engine.attend import group_tiles
from engine.plan import Flag, Plan
from kernels.paged import CLEAN, Rows
from tests.kernels.interpreted.walls import walled


def rows_of(plan: Plan) -> Rows:
    """Who sees whom in `plan`: limits and groups of its rows, its tiles, its page tables."""
    laid, sequence, _ = (np.concatenate(part) for part in zip(*map(group_tiles, plan.groups), strict=True))
    group = np.where(plan.field(2) & Flag.NOISY, plan.field(1), CLEAN)
    work = np.stack((laid[:, 0], laid[:, -1] - laid[:, 0] + 1, sequence), axis=1)
    limits, groups, tiles, tables = (
        walled(torch.from_numpy(field).to(torch.int32)) for field in (plan.limit, group, work, plan.tables)
    )
    return Rows(limits, groups, tiles, tables, int(plan.limit.max()))
