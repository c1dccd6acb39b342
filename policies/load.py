"""Loading a policy: read, merged, checked, named. What does not depend on the world around is checked here, always."""

from __future__ import annotations

from pathlib import Path

from policies.check import findings
from policies.errors import PolicyError
from policies.policy import Policy, seal
from policies.reading import resolve


def load(path: Path) -> Policy:
    """Read the policy at `path`; a parent `p` is `p.toml` beside it, else the one shipped in this room.

    Raises PolicyError, naming file, line, key and reason, for anything but a complete, closed, tightening document without
    contradictions. Whether the models, groups and tools that it names exist is for `check` to say.
    """
    resolved = resolve(path)
    for finding in (*resolved.loosened, *findings(resolved)):
        raise PolicyError(finding.file, finding.path, finding.reason, finding.line)
    return seal(path.stem, resolved.document)
