"""One record after the other, folded into a row."""

from __future__ import annotations

from dataclasses import replace

from audit.header import Header, uuid7
from audit.records import Body, Kind, PolicyDecision, RequestOpen, kind_of, schema_of
from gateway.projections.folding import Means, Told, begun, told
from tests.audit.samples import LATER, POLICY, SAMPLES, START, TENANT

REQUEST = uuid7()
MEANS = Means(lambda digest: None, lambda key, digest: None)


def folded(*bodies: Body) -> Told:
    """The row of a request with these records."""
    kinds = [kind_of(body) for body in bodies]
    headers = [
        Header(TENANT, seq, START, uuid7(), REQUEST, kind, schema_of(kind), "key-1", POLICY, "2026-11", 1, bytes(32))
        for seq, kind in enumerate(kinds)
    ]
    row = begun(headers[0], REQUEST)
    for header, body in zip(headers, bodies, strict=True):
        row = told(row, header, body, MEANS)
    return row


def test_words_that_no_column_can_hold_are_shown_without() -> None:
    """A NUL in a client's own words, which a log may hold, keeps no row from being written."""
    opening, decision = SAMPLES[Kind.REQUEST_OPEN], LATER[Kind.POLICY_DECISION]
    assert isinstance(opening, RequestOpen) and isinstance(decision, PolicyDecision) and decision.facts is not None
    asked = replace(decision.facts, risk="\0", workflow="a\0b")
    row = folded(replace(opening, workflow="a\0b"), replace(decision, facts=asked))
    assert (row.workflow, row.risk) == ("a\ufffdb", "\ufffd")
