"""Triton's interpreter runs every kernel, in processes of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

FOLDER = Path(__file__).parent / "interpreted"
FILES = sorted(FOLDER.glob("test_*.py"))
PARTS = tuple(FILES[part::6] for part in range(6))
"""A process takes seconds to start. The interpreter is slow, and slower beside other workers."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("files", PARTS, ids=lambda files: "-".join(file.stem.removeprefix("test_") for file in files))
def test_every_kernel_is_its_definition_in_the_interpreter(files: list[Path]) -> None:
    """The laws of these files hold, all of them were tried, and none was passed over."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--confcutdir={FOLDER}", *map(str, files)]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    laws = sum(len(re.findall(r"^def test_", file.read_text(encoding="utf-8"), re.MULTILINE)) for file in files)
    passed = re.search(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    assert passed is not None and int(passed[1]) >= laws > 0
