"""A plan of the engine as the kernels take it."""

from __future__ import annotations

import torch

from engine.plan import Plan
from engine.told import sight
from kernels.paged import Rows
from tests.kernels.interpreted.walls import walled


def rows_of(plan: Plan) -> Rows:
    """Who sees whom in `plan`: limits and groups of its rows, its tiles, its page tables."""
    limits, groups, tiles, tables = (walled(torch.from_numpy(field).to(torch.int32)) for field in sight(plan))
    return Rows(limits, groups, tiles, tables, int(plan.limit.max()))
