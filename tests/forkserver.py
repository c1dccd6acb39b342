"""Where tests fork processes from: one that has imported what they run and has done nothing, so that a start costs no imports.

It is the standard library's forkserver, one for each worker of the suite; what it forks is a process like any other.
"""

from __future__ import annotations

import multiprocessing
from functools import cache
from multiprocessing.context import ForkServerContext


@cache
def forkserver() -> ForkServerContext:
    """Where forks come from; what they run is imported there once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gateway.app", "gateway.cli", "engine.train.trainer"])
    return context
