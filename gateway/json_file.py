"""A document as a JSON file: what every command and benchmark writes for `--json FILE`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(json_file: Path | None, document: Mapping[str, Any]) -> None:
    """Write a document, if it was asked for."""
    if json_file is not None:
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
