"""A plan of the engine as the kernels take it."""

from __future__ import annotations

import torch

from engine.layout import groups_of, tiles_of
from engine.plan import Plan
from kernels.paged import Rows
from tests.kernels.interpreted.walls import walled


def rows_of(plan: Plan) -> Rows:
    """Who sees whom in `plan`: limits and groups of its rows, its tiles, its page tables."""
    fields = (plan.limit, groups_of(plan), tiles_of(plan), plan.tables)
    limits, groups, tiles, tables = (walled(torch.from_numpy(field).to(torch.int32)) for field in fields)
    return Rows(limits, groups, tiles, tables, int(plan.limit.max()))
