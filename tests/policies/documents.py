"""Policies made from a few lines of TOML, for the tests of the judge."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec

from policies import Decision, Document, Policy, Refusal, RequestFacts, decide
from policies.policy import seal
from policies.reading import ROOM
from tests.policies.facts import HEAD, PLAIN

ALL = '[modes]\nallowed = ["ar", "diffusion", "linear_spec", "quadratic_spec"]\ndefault = "diffusion"\n'


def policy(tables: str, modes: str = ALL, head: str = "") -> Policy:
    """The policy of these tables, as it stands: not read from a file and not checked."""
    parsed: dict[str, Any] = tomllib.loads(HEAD + head + modes + tables)
    return seal("made", msgspec.convert(parsed, Document))


def coding_agents(tenant: str, more: str = "") -> str:
    """The text of the worked example for coding agents as a tenant's own, without budgets; `more` stands before prices."""
    text = (ROOM / "examples" / "coding_agents.toml").read_text(encoding="utf-8").replace('"engineering"', f'"{tenant}"')
    return text[: text.index("[[budgets]]")] + more + text[text.index("[prices]") :]


def allowed(of: Policy, facts: RequestFacts = PLAIN) -> Decision:
    """The decision on a request, which must be one."""
    verdict = decide(of, facts)
    assert isinstance(verdict, Decision), verdict
    return verdict


def refused(of: Policy, facts: RequestFacts = PLAIN) -> Refusal:
    """The refusal of a request, which must be one."""
    verdict = decide(of, facts)
    assert isinstance(verdict, Refusal), verdict
    return verdict
