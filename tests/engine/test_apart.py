"""What is computed before the first step leaves no threads behind, or the engine's would sleep between products."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from engine.apart import apart
from engine.request import Numeric
from tests.engine.small import TINY

COUNTS = """
import os, sys, time
from pathlib import Path
import torch
from engine.engine import Engine
from engine.model.checkpoint import load
from engine.request import Numeric

def helpers():
    return len(os.listdir("/proc/self/task"))

before = helpers()
engine = Engine(load(Path(sys.argv[1])), Numeric(sys.argv[2]))
patience = time.monotonic() + 20  # a thread is joined before the system has taken it, and its helpers, off its list
while helpers() > before and time.monotonic() < patience:
    time.sleep(0.01)
after = helpers()
torch.ones(1 << 20).mul_(2.0)
print(before, after, helpers())
"""


@pytest.mark.parametrize("numeric", list(Numeric))
def test_an_engine_is_made_without_helpers(numeric: Numeric) -> None:
    """Loading a checkpoint and making an engine keep no thread, where one large product by the same thread keeps another."""
    two = os.environ | {"OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", COUNTS, str(TINY), numeric.value]
    told = subprocess.run(command, env=two, capture_output=True, text=True, check=True, timeout=120).stdout
    before, after, then = map(int, told.split())
    assert after == before and then == before + 1


def test_work_apart_returns_and_raises() -> None:
    """It is done in a thread of its own, which has ended by then, and comes back as a value or as the error that it was."""
    thread = apart(threading.current_thread)
    assert thread is not threading.current_thread() and not thread.is_alive()
    with pytest.raises(ZeroDivisionError):
        apart(lambda: 1 // 0)
