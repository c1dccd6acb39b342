"""The Vercel AI SDK, in each dialect that it speaks: its agent is a script beside this file, run where the packages are."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Final

from tests.clients.commands import ended
from tests.clients.held import FILE, TASK
from tests.clients.install import Program, packages_of_npm
from tests.clients.loops import Loop, Place

PACKAGES: Final = ("ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible", "@ai-sdk/anthropic", "zod")
SCRIPT: Final = Path(__file__).with_suffix(".mjs")


def loops(cache: Path) -> list[Loop]:
    """One loop for each dialect."""
    node, folder = packages_of_npm(cache, "vercel", PACKAGES)
    version = json.loads((folder / "node_modules" / "ai" / "package.json").read_text(encoding="utf-8"))["version"]
    return [
        Loop(f"vercel {dialect}", version, partial(_run, node, folder, dialect))
        for dialect in ("responses", "chat", "messages")
    ]


def _run(node: Program, folder: Path, dialect: str, place: Place) -> str:
    script = str(shutil.copy(SCRIPT, folder))  # where it finds its packages
    given = {"GATEWAY": place.url, "KEY": place.key, "MODEL": place.model, "TASK": TASK, "FILE": FILE}
    return ended(node, [script, dialect], place, **given)
