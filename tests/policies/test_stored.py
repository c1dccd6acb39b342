"""A stored policy is the policy: its text gives it back, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given

from policies import BASELINE, Action, Document, Phase, PolicyError, RequestFacts, decide, load, restored, written
from policies.policy import seal
from policies.rules import Rule
from tests.policies import drawn

SHIPPED = [BASELINE, BASELINE.with_name("strict.toml"), *sorted((BASELINE.parent / "examples").glob("*.toml"))]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_policy_comes_back(file: Path) -> None:
    """Text and digest belong together, and the policy of the text is that of the file."""
    policy = load(file)
    text = written(policy)
    assert hashlib.sha256(text.encode()).digest() == policy.digest
    assert restored("again", text).digest == policy.digest
    assert written(restored("again", text)) == text


@drawn.calm
@given(drawn.documents(), drawn.requests)
def test_what_comes_back_decides_alike(document: Document, facts: RequestFacts) -> None:
    """A document that has no fault is restored, and decides each request as before."""
    policy = seal("drawn", document)
    try:
        again = restored("again", written(policy))
    except PolicyError:
        return
    assert decide(again, facts) == decide(policy, facts)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", "\ud800", "[" * 5000, '{"schema":"palimpsest.policy/2"}',
        written(load(BASELINE)).replace('"tenant"', '"tenannt"'), written(load(BASELINE)) + " ",
        written(load(BASELINE)).replace('"linear_spec",', '"telepathy",'),
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """Text of another release, with an unknown key, a fault, or in another spelling is no policy."""
    with pytest.raises(PolicyError):
        restored("bad", text)


def test_a_policy_that_no_record_holds_is_refused() -> None:
    """A document that is too long for its record is refused before anybody is asked to approve it."""
    document = load(BASELINE).document
    long = Rule(id="r", phase=Phase.ADMIT, action=Action.ANNOTATE, reason="because " * 60)
    rules = tuple(msgspec.structs.replace(long, id=f"r{number}") for number in range(1000))
    with pytest.raises(PolicyError, match="can be recorded"):
        written(seal("long", msgspec.structs.replace(document, rules=rules)))
