"""Triton's interpreter runs every kernel, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "interpreted"


def test_every_kernel_is_its_definition_in_the_interpreter() -> None:
    """The laws in `interpreted/` hold, all of them were tried, and none was passed over."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER)]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    laws = sum(
        len(re.findall(r"^def test_", file.read_text(encoding="utf-8"), re.MULTILINE)) for file in FOLDER.glob("test_*.py")
    )
    passed = re.search(r"(\d+) passed in", done.stdout)
    assert passed is not None and int(passed[1]) >= laws > 0
