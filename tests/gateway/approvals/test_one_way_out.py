"""The law of the one way out, held against the source: nothing but a release makes text cleared."""

from __future__ import annotations

import ast
from pathlib import Path

GATEWAY = Path(__file__).parents[3] / "gateway"


def makers(name: str) -> set[str]:
    """The files of the gateway that call something of this name."""
    found: set[str] = set()
    for path in GATEWAY.rglob("*.py"):
        calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        if any(isinstance(call, ast.Name) and call.id == name for call in calls):
            found.add(str(path.relative_to(GATEWAY)))
    return found


def test_only_a_release_clears_text() -> None:
    """`Cleared`, without which no approved text is handed out, is made in one file, after its records are committed."""
    assert makers("Cleared") == {"approvals/releasing.py"}


def test_only_a_release_records_a_delivery() -> None:
    """The record that approved text went out is written in the same place and nowhere else."""
    assert makers("ApprovedDelivery") == {"approvals/releasing.py"}
