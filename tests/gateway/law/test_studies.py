"""Laws of documents that people paste."""

from __future__ import annotations

import pytest

import policies
from gateway.law.studies import accepted


@pytest.mark.parametrize("tenant", ["acme", "baseline", "strict"])
def test_a_tenant_called_like_a_shipped_policy_inherits_it(tenant: str) -> None:
    """A pasted document inherits the shipped policy that it names, whatever its own tenant is called."""
    text = f'schema = "palimpsest.policy/1"\ntenant = "{tenant}"\ninherit = "{{}}"\n'
    for parent in ("baseline", "strict"):
        assert accepted(tenant, text.format(parent), policies.World()).document.inherit == parent
